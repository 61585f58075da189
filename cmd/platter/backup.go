package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"platter/pack"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image/nbd"
)

type backupOptions struct {
	common
	name, host, note, time, parent string
	tags                           cli.StringSlice
	named                          bool // by --name or PLATTER_NAME
	command                        string
	size                           diskSize
	sameDisk                       bool
	image                          imageOptions
	nbd                            nbdSourceOptions
	compression                    compression
	failing                        failingOptions
	hooks                          hookOptions
}

func backupCommand(env *env) *cli.Command {
	var opts backupOptions
	return &cli.Command{
		Name:      "backup",
		Usage:     "store a disk as a new version",
		ArgsUsage: "SOURCE | --source-command COMMAND",
		Category:  aboutDisks,
		Description: "SOURCE is a disk image (raw, qcow2, VMDK, VHD, VHDX, VDI), a block device, an NBD export (nbd://HOST[:PORT]/NAME, " +
			"nbd+unix:///NAME?socket=PATH, or with TLS nbds://), or - for standard input. " +
			"An image is stored as the disk in it, so every format stores the same data. " +
			"Holes are not read, and only data that the repository does not have yet is stored.\n\n" +
			"The source should not change during the backup. If the disk is in use, back up a snapshot of it: --before can create it and --after remove it. " +
			"An image that a running virtual machine has open is refused: docs/disks.md shows how to back up the machine by NBD.\n\n" +
			"Sectors that cannot be read are retried, and then recorded as unreadable: they are restored as zeros, 'show' lists them, and the exit code is 3. " +
			"The next backup reads the whole disk again. It is an error if the disk disappears, or if nothing can be read from it.\n\n" +
			"A name belongs to one disk. platter compares the serial number, partition table and path of SOURCE with the newest version of that name and host. " +
			"It refuses another disk: choose another --name, or use --same-disk if it is the same disk after a move, a replacement or a reinstallation. " +
			"The version is stored, but the exit code is 3, if the disk is shorter than before, or if the newest version has a later time and --time is not given.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the disk (default: PLATTER_NAME, or HOST/ and the file name of SOURCE)", Destination: &opts.name},
			&cli.StringFlag{Name: "host", Usage: "`HOST` that the disk belongs to (default: PLATTER_HOST, or this machine)", Destination: &opts.host},
			&cli.StringSliceFlag{Name: "tag", Usage: "add a `TAG` to find the version by; may be repeated", Destination: &opts.tags},
			&cli.StringFlag{Name: "note", Usage: "add this `TEXT` as a note", Destination: &opts.note},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "do everything except store the version", Destination: &opts.dryRun, DisableDefaultText: true},
			&cli.StringFlag{Name: "time", Usage: "`TIME` of the version (default: now)", Destination: &opts.time},
			&cli.BoolFlag{Name: "same-disk", Usage: "accept SOURCE as the disk of that name, although it looks like another one", Destination: &opts.sameDisk, DisableDefaultText: true},
			&cli.GenericFlag{Name: "size", Usage: "store nothing unless the disk has exactly `BYTES`, such as 512110190592 or 8G", Value: &opts.size, DefaultText: "any size"},
			&cli.StringFlag{Name: "source-command", Usage: "read the disk from the output of `COMMAND`; if it fails, even after its last byte, nothing is stored", Destination: &opts.command},
			&cli.StringFlag{Name: "parent", Usage: "`SNAPSHOT` to compare with (default: the newest of that name and host)", Destination: &opts.parent},
			&cli.GenericFlag{Name: "compression", Usage: "`HOW` hard to compress new data: off, fastest, default, better, or auto (better where it costs no time, else default)", Value: &opts.compression, EnvVars: []string{"PLATTER_COMPRESSION"}},
		}, imageFlags(&opts.image), failingFlags(&opts.failing), nbdSourceFlags(&opts.nbd), hookFlags(&opts.hooks), repoFlags(&opts.common)),
		Action: action(env, &opts, runBackup),
	}
}

func runBackup(ctx context.Context, env *env, opts backupOptions, args []string) error {
	path, err := opts.source(args)
	if err != nil {
		return err
	}
	if err := opts.image.validate(path); err != nil {
		return err
	}
	if err := opts.nbd.validate(path); err != nil {
		return err
	}
	s, err := describe(env, &opts, path)
	if err != nil {
		return err
	}
	if err := opts.failing.check(opts, path); err != nil {
		return err
	}
	if !opts.hooks.given() && opts.command == "" {
		src, err := openSource(ctx, env, opts, path, s) // before the password is asked for
		if err != nil {
			return err
		}
		defer src.Close()
		r, err := openRepo(ctx, env, opts.common)
		if err != nil {
			return err
		}
		return keepSource(ctx, env, opts, r, src, s)
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	return opts.hooks.around(ctx, env, opts.common, s, path, func(open *openSources) error {
		src, err := openSource(ctx, env, opts, path, s)
		if err != nil {
			return err
		}
		if err := open.add(src); err != nil {
			return err
		}
		return keepSource(ctx, env, opts, r, src, s)
	})
}

// source returns the path to read the disk from, or a usage error unless there is exactly one.
func (o backupOptions) source(args []string) (string, error) {
	if o.command != "" {
		if len(args) > 0 && (len(args) > 1 || args[0] != stdio) {
			return "", usagef("give SOURCE or --source-command, not both")
		}
		return stdio, nil
	}
	if err := wantArgs(args, "SOURCE"); err != nil {
		return "", err
	}
	if args[0] == "" {
		return "", usagef("SOURCE is empty")
	}
	if nbd.IsURI(args[0]) {
		if _, err := nbd.Place(args[0]); err != nil {
			return "", usagef("SOURCE: %v", err)
		}
		return args[0], nil
	}
	if err := localFile("SOURCE", args[0]); err != nil {
		return "", hintAtNBD(err, args[0])
	}
	return args[0], nil
}

// keepSource stores a source as a snapshot and reports on it.
func keepSource(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) error {
	defer env.warnHealed(opts.common, r)
	src.warnOfUses(env, opts.common)
	if kind, waits := r.UnknownLag(); kind != "" && waits > 0 && !opts.dryRun {
		env.warn(opts.common, "the repository is on a file system of type %s, which may show an outdated folder: this backup begins in %v. "+
			"If folders are up to date sooner, set --grace or PLATTER_GRACE", kind, waits)
	}
	var after *snapshot.Succession
	err := r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) (err error) {
		after, err = runSource(ctx, env, opts, r, src, s)
		return err
	})
	if err != nil {
		return err
	}
	if !opts.dryRun {
		snapshot.RecordSeen(r, s)
	}
	if s.Modified {
		env.warn(opts.common, "%s was written to while it was read, so this version is a mixture of old and new; back up a snapshot of a disk in use", src.path)
	}
	src.tellOfContent(env, opts, s)
	if err := printBackup(env, opts, s); err != nil {
		return err
	}
	return errors.Join(warnOfSuccession(env, opts, after, src, s), tellUnreadable(ctx, env, opts, r, src, s))
}

// runSource stores a source as a snapshot, and returns what precedes it.
func runSource(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) (*snapshot.Succession, error) {
	all, err := readSnapshots(ctx, env, r, opts.common)
	if err != nil {
		return nil, err
	}
	after, err := succeed(env, opts, r, all, s)
	if err != nil {
		return nil, err
	}
	if was, err := src.keepRaw(after.Parent, opts.image); err != nil {
		return nil, err
	} else if was != "" {
		s.Source.Kind = src.kind
		env.warn(opts.common, "%s was a raw disk before, and now begins like an image (%s), which a guest can fake: it is stored as a raw disk. "+
			"If it really is an image, use --format %s", s.Source.Path, was, was)
	}
	if src.broken != nil {
		return nil, src.broken
	}
	if err := src.checkSize(int64(opts.size)); err != nil {
		return nil, err
	}
	if err := src.identify(ctx, env, opts, r, all, after, s); err != nil {
		return nil, err
	}
	if n, err := r.Adopt(ctx); err != nil {
		return nil, err
	} else if n > 0 {
		env.info(opts.common, "adopted %s that no index file listed: an interrupted backup stored them, or one that is still running", count(n, "pack"))
	}
	r.SetCompression(pack.Compression(opts.compression))
	var p repo.Progress
	stop := env.progress(opts.common, s.Name, &p)
	err = src.backup(ctx, r, after.Parent, s, &p)
	stop()
	return after, err
}

// describe fills in what the command line and the machine say about the disk.
func describe(env *env, opts *backupOptions, source string) (*snapshot.Snapshot, error) {
	if env.getenv("PLATTER_SOURCE") == "" { // else a hook runs us, and the variables describe the other backup
		opts.name, opts.host = cmp.Or(opts.name, env.getenv("PLATTER_NAME")), cmp.Or(opts.host, env.getenv("PLATTER_HOST"))
	}
	opts.named = opts.name != ""
	s := &snapshot.Snapshot{
		Name: opts.name, Host: opts.host, Tags: opts.tags.Value(), Note: opts.note,
		Time: env.now().Round(0), Platter: buildVersion().Version,
	}
	var err error
	if opts.time != "" {
		if s.Time, err = parseTime(opts.time); err != nil {
			return nil, err
		}
	}
	if s.Host == "" {
		if s.Host, err = env.hostname(); err != nil {
			return nil, fmt.Errorf("find the name of this machine: %w; set it with --host", err)
		}
	}
	if s.Name == "" {
		base := filepath.Base(source)
		switch {
		case source == stdio:
			base = "stdin"
		case nbd.IsURI(source):
			base = nbd.DiskName(source)
		}
		s.Name = snapshot.DefaultName(s.Host, base)
	}
	if err := snapshot.CheckName(s.Name); err != nil {
		return nil, usagef("--name: %v", err)
	}
	for _, tag := range s.Tags {
		if tag == "" || strings.ContainsAny(tag, ",\n") {
			return nil, usagef("--tag %q: a tag must not be empty or contain a comma", tag)
		}
	}
	return s, nil
}

func printBackup(env *env, opts backupOptions, s *snapshot.Snapshot) error {
	if opts.json {
		out := struct {
			snapshotJSON
			DryRun bool `json:"dry_run,omitempty"`
		}{asJSON(s), opts.dryRun}
		if opts.dryRun {
			out.ID = "" // nothing was stored
		}
		return env.printJSON(out)
	}
	if opts.quiet {
		if !opts.dryRun {
			fmt.Fprintln(env.stdout, s.ID) // for scripts
		}
		return nil
	}
	took := time.Duration(s.Stats.Millis) * time.Millisecond
	rate := ""
	if took > 0 {
		rate = fmt.Sprintf(", %s/s", size(s.Stats.Read*1000/s.Stats.Millis))
	}
	fmt.Fprintf(env.stdout, "disk      %s, %s of data\n", size(s.Size), size(s.Stats.Data))
	fmt.Fprintf(env.stdout, "read      %s in %s%s\n", size(s.Stats.Read), duration(took), rate)
	fmt.Fprintf(env.stdout, "new       %s\n", size(s.Stats.New))
	fmt.Fprintf(env.stdout, "stored    %s\n", size(s.Stats.Stored))
	if opts.dryRun {
		fmt.Fprintln(env.stdout, "nothing was stored: this was a dry run")
		return nil
	}
	fmt.Fprintf(env.stdout, "snapshot  %s of %s\n", shortID(s.ID), s.Name)
	return nil
}
