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
)

type backupOptions struct {
	common
	name, host, note, time, parent string
	tags                           cli.StringSlice
	named                          bool // --name or PLATTER_NAME gave the name
	command                        string
	size                           diskSize
	sameDisk                       bool
	image                          imageOptions
	compression                    compression
	failing                        failingOptions
	hooks                          hookOptions
}

func backupCommand(env *env) *cli.Command {
	var opts backupOptions
	return &cli.Command{
		Name:      "backup",
		Usage:     "keep a disk as it is now",
		ArgsUsage: "SOURCE | --source-command COMMAND",
		Category:  aboutDisks,
		Description: "SOURCE is a disk image (raw, qcow2, VMDK, VHD, VHDX, VDI), a block device, or - for standard input. What is kept is the disk " +
			"in an image, so it is the same in every format. Holes are not read. " +
			"Only what the repository does not have yet is stored. The source should not change meanwhile: back up a snapshot of a disk in use, " +
			"which --before can make and --after drop. An image that a running virtual machine has open is refused.\n\n" +
			"What cannot be read of a disk is tried again, down to the sector, and is then kept as unreadable: it is restored as zeros, 'show' " +
			"lists it, and the exit code is 3. A later backup reads all again. A disk that is gone, or gives nothing at all, is an error.\n\n" +
			"A disk keeps its name. By serial number, partition table and path SOURCE is compared with the newest version of that name and host, " +
			"and another disk is refused: give it a --name of its own, or --same-disk where it is the same disk, moved, replaced or made anew. " +
			"A disk that is shorter than in the version before, and a version older than the newest of its disk without --time, are kept, and the exit code is 3.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "what to call the disk (default: PLATTER_NAME, or HOST/SOURCE's own name)", Destination: &opts.name},
			&cli.StringFlag{Name: "host", Usage: "the machine it belongs to (default: PLATTER_HOST, or this one)", Destination: &opts.host},
			&cli.BoolFlag{Name: "same-disk", Usage: "SOURCE is the disk of that name, although it looks like another", Destination: &opts.sameDisk, DisableDefaultText: true},
			&cli.StringFlag{Name: "source-command", Usage: "the disk is what `COMMAND` prints; if it fails, even after its last byte, no version is kept", Destination: &opts.command},
			&cli.GenericFlag{Name: "size", Usage: "keep nothing unless the disk has exactly `BYTES`, such as 512110190592 or 8G", Value: &opts.size, DefaultText: "any size"},
			&cli.StringSliceFlag{Name: "tag", Usage: "a `TAG` to find it by; may be repeated", Destination: &opts.tags},
			&cli.StringFlag{Name: "note", Usage: "a `TEXT` for people", Destination: &opts.note},
			&cli.StringFlag{Name: "time", Usage: "the `TIME` the disk is from (default: now)", Destination: &opts.time},
			&cli.StringFlag{Name: "parent", Usage: "the `SNAPSHOT` it is the next version of (default: the newest of that name and host)", Destination: &opts.parent},
			&cli.GenericFlag{Name: "compression", Usage: "`HOW` hard to compress what is new: off, fastest, default, better, or auto: default, and better where that takes no longer", Value: &opts.compression, EnvVars: []string{"PLATTER_COMPRESSION"}},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "do all but store", Destination: &opts.dryRun, DisableDefaultText: true},
		}, imageFlags(&opts.image), failingFlags(&opts.failing), hookFlags(&opts.hooks), repoFlags(&opts.common)),
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

// source returns where the disk is to be read from, which is one way only.
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
	if err := localFile("SOURCE", args[0]); err != nil {
		return "", err
	}
	return args[0], nil
}

// keepSource keeps a source as a snapshot, and tells of it.
func keepSource(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) error {
	defer env.warnHealed(opts.common, r)
	src.warnOfUses(env, opts.common)
	if kind, waits := r.UnknownLag(); kind != "" && waits > 0 && !opts.dryRun {
		env.warn(opts.common, "the repository is on a file system of type %s, which may show a folder as it was a while ago: this backup begins in %v. "+
			"Where that takes less, say so with --grace or PLATTER_GRACE", kind, waits)
	}
	var after *succession
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
		env.warn(opts.common, "%s was written to while it was read, so what was kept is a mixture; back up a snapshot of a disk in use", src.path)
	}
	src.tellOfContent(env, opts, s)
	if err := printBackup(env, opts, s); err != nil {
		return err
	}
	return errors.Join(after.warnOfSuccession(env, opts, src, s), tellUnreadable(ctx, env, opts, r, src, s))
}

// runSource keeps a source as a snapshot, and returns what that comes after.
func runSource(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) (*succession, error) {
	all, err := readSnapshots(ctx, env, r, opts.common)
	if err != nil {
		return nil, err
	}
	after, err := succeed(env, opts, r, all, s)
	if err != nil {
		return nil, err
	}
	if was, err := src.keepRaw(after.parent, opts.image); err != nil {
		return nil, err
	} else if was != "" {
		s.Source.Kind = src.kind
		env.warn(opts.common, "%s was a raw disk before, and begins like an image (%s) now, as a guest can make it: it is kept as the raw disk that it was. "+
			"If it really is an image, say --format %s", s.Source.Path, was, was)
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
		env.info(opts.common, "took in %s that no index listed: what an interrupted backup had stored, or one under way", count(n, "pack"))
	}
	r.SetCompression(pack.Compression(opts.compression))
	var p repo.Progress
	stop := env.progress(opts.common, s.Name, &p)
	err = src.backup(ctx, r, after.parent, s, &p)
	stop()
	return after, err
}

// describe fills in what the command line and the machine tell of the disk.
func describe(env *env, opts *backupOptions, source string) (*snapshot.Snapshot, error) {
	if env.getenv("PLATTER_SOURCE") == "" { // else a hook runs us, and the variables tell of the other backup
		opts.name, opts.host = cmp.Or(opts.name, env.getenv("PLATTER_NAME")), cmp.Or(opts.host, env.getenv("PLATTER_HOST"))
	}
	opts.named = opts.name != ""
	s := &snapshot.Snapshot{Name: opts.name, Host: opts.host, Tags: opts.tags.Value(), Note: opts.note,
		Time: env.now().Round(0), Platter: buildVersion().Version}
	var err error
	if opts.time != "" {
		if s.Time, err = parseTime(opts.time); err != nil {
			return nil, err
		}
	}
	if s.Host == "" {
		if s.Host, err = env.hostname(); err != nil {
			return nil, fmt.Errorf("find this machine's name (--host gives one): %w", err)
		}
	}
	if s.Name == "" {
		base := filepath.Base(source)
		if source == stdio {
			base = "stdin"
		}
		s.Name = snapshot.DefaultName(s.Host, base)
	}
	if err := snapshot.CheckName(s.Name); err != nil {
		return nil, usagef("--name: %v", err)
	}
	for _, tag := range s.Tags {
		if tag == "" || strings.ContainsAny(tag, ",\n") {
			return nil, usagef("--tag %q: want a word without commas", tag)
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
			out.ID = "" // of what was not stored
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
	fmt.Fprintf(env.stdout, "disk      %s, of which %s are data\n", size(s.Size), size(s.Stats.Data))
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
