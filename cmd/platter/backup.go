package main

import (
	"context"
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
		ArgsUsage: "SOURCE",
		Category:  aboutDisks,
		Description: "SOURCE is a disk image (raw, qcow2, VMDK, VHD, VHDX, VDI), a block device, or - for standard input. What is kept is the disk " +
			"in an image, so it is the same in every format. Holes are not read. " +
			"Only what the repository does not have yet is stored. The source should not change meanwhile: back up a snapshot of a disk in use, " +
			"which --before can make and --after drop.\n\n" +
			"What cannot be read of a disk is tried again, down to the sector, and is then kept as unreadable: it is restored as zeros, 'show' " +
			"lists it, and the exit code is 3. A later backup reads all again. A disk that is gone, or gives nothing at all, is an error.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "what to call the disk (default: HOST/SOURCE's own name)", Destination: &opts.name},
			&cli.StringFlag{Name: "host", Usage: "the machine it belongs to (default: this one)", Destination: &opts.host},
			&cli.StringSliceFlag{Name: "tag", Usage: "a `TAG` to find it by; may be repeated", Destination: &opts.tags},
			&cli.StringFlag{Name: "note", Usage: "a `TEXT` for people", Destination: &opts.note},
			&cli.StringFlag{Name: "time", Usage: "the `TIME` the disk is from (default: now)", Destination: &opts.time},
			&cli.StringFlag{Name: "parent", Usage: "the `SNAPSHOT` it is the next version of (default: the newest of that name and host)", Destination: &opts.parent},
			&cli.GenericFlag{Name: "compression", Usage: "`HOW` hard to compress what is new: off, fastest, default, better, or auto, which is as hard as the store leaves time for", Value: &opts.compression, EnvVars: []string{"PLATTER_COMPRESSION"}},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "do all but store", Destination: &opts.dryRun, DisableDefaultText: true},
		}, imageFlags(&opts.image), failingFlags(&opts.failing), hookFlags(&opts.hooks), repoFlags(&opts.common)),
		Action: action(env, &opts, runBackup),
	}
}

func runBackup(ctx context.Context, env *env, opts backupOptions, args []string) error {
	if err := wantArgs(args, "SOURCE"); err != nil {
		return err
	}
	if args[0] == "" {
		return usagef("SOURCE is empty")
	}
	if err := localFile("SOURCE", args[0]); err != nil {
		return err
	}
	if err := opts.image.validate(args[0]); err != nil {
		return err
	}
	s, err := describe(env, opts, args[0])
	if err != nil {
		return err
	}
	if err := opts.failing.check(opts, args[0]); err != nil {
		return err
	}
	if !opts.hooks.given() {
		src, err := openSource(ctx, env, opts, args[0], s) // before the password is asked for
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
	return opts.hooks.around(ctx, env, opts.common, s, args[0], func(open *openSources) error {
		src, err := openSource(ctx, env, opts, args[0], s)
		if err != nil {
			return err
		}
		if err := open.add(src); err != nil {
			return err
		}
		return keepSource(ctx, env, opts, r, src, s)
	})
}

// keepSource keeps a source as a snapshot, and tells of it.
func keepSource(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) error {
	defer env.warnHealed(opts.common, r)
	src.warnOfUses(env, opts.common)
	err := r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error {
		return runSource(ctx, env, opts, r, src, s)
	})
	if err != nil {
		return err
	}
	if !opts.dryRun {
		snapshot.Saw(r, s, env.now())
	}
	if s.Modified {
		env.warn(opts.common, "%s was written to while it was read, so what was kept is a mixture; back up a snapshot of a disk in use", src.path)
	}
	if s.Size == 0 {
		env.warn(opts.common, "%s has no bytes at all", src.path)
	}
	if err := printBackup(env, opts, s); err != nil {
		return err
	}
	return tellUnreadable(ctx, env, opts, r, src, s)
}

// runSource keeps a source as a snapshot.
func runSource(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) error {
	all, err := readSnapshots(ctx, env, r, opts.common)
	if err != nil {
		return err
	}
	parent, err := findParent(all, opts, s)
	if err != nil {
		return err
	}
	if was, err := src.keepRaw(parent, opts.image); err != nil {
		return err
	} else if was != "" {
		s.Source.Kind = src.kind
		env.warn(opts.common, "%s was a raw disk before, and begins like an image (%s) now, as a guest can make it: it is kept as the raw disk that it was. "+
			"If it really is an image, say --format %s", s.Source.Path, was, was)
	}
	if src.broken != nil {
		return src.broken
	}
	if n, err := r.Adopt(ctx); err != nil {
		return err
	} else if n > 0 {
		env.info(opts.common, "took in %s that no index listed: what an interrupted backup had stored, or one under way", count(n, "pack"))
	}
	r.SetCompression(pack.Compression(opts.compression))
	var p repo.Progress
	stop := env.progress(opts.common, s.Name, &p)
	err = src.backup(ctx, r, parent, s, &p)
	stop()
	return err
}

// describe fills in what the command line and the machine tell of the disk.
func describe(env *env, opts backupOptions, source string) (*snapshot.Snapshot, error) {
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
		s.Name = snapshot.CleanName(s.Host + "/" + base)
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

// findParent returns the version before this one, nil when there is none.
func findParent(all []*snapshot.Snapshot, opts backupOptions, s *snapshot.Snapshot) (*snapshot.Snapshot, error) {
	if opts.parent != "" {
		parent, err := snapshot.Find(all, opts.parent)
		if err != nil {
			return nil, fmt.Errorf("--parent: %w", err)
		}
		return parent, nil
	}
	for _, old := range slices.Backward(all) {
		if old.Name == s.Name && old.Host == s.Host {
			return old, nil
		}
	}
	return nil, nil
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
