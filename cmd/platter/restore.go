package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"platter/repo"
	"platter/snapshot"
)

type restoreOptions struct {
	common
	force, inPlace, verify bool
}

func restoreCommand(env *env) *cli.Command {
	var opts restoreOptions
	return &cli.Command{
		Name:      "restore",
		Usage:     "give a disk back, byte for byte",
		ArgsUsage: "SNAPSHOT TARGET",
		Category:  aboutDisks,
		Description: aboutSnapshotArgument + "\n\nTARGET is a new file, which takes no more room than the data, or - for standard output. " +
			"The file has its name only once all of it is written and safe on its disk." +
			"\n\nWith --in-place TARGET is a file that is there, an older version of the disk as a rule. What it holds is compared with " +
			"the snapshot, and only what differs is fetched and written. Nothing else may use the file meanwhile. Until the command is " +
			"done, the file is neither the one disk nor the other; where it was interrupted, the same command goes on.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace TARGET if it is there", Destination: &opts.force, DisableDefaultText: true},
			&cli.BoolFlag{Name: "in-place", Usage: "write into TARGET, which is there, what differs from SNAPSHOT", Destination: &opts.inPlace, DisableDefaultText: true},
			&cli.BoolFlag{Name: "verify", Usage: "read TARGET back and prove every byte of it", Destination: &opts.verify, DisableDefaultText: true},
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runRestore),
	}
}

func runRestore(ctx context.Context, env *env, opts restoreOptions, args []string) error {
	if err := wantArgs(args, "SNAPSHOT", "TARGET"); err != nil {
		return err
	}
	target := args[1]
	if opts.force && opts.inPlace {
		return usagef("--force replaces TARGET and --in-place writes into it; say one of them")
	}
	if target == stdio {
		if f, ok := env.stdout.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return usagef("TARGET - would fill the terminal with a disk; redirect it")
		}
		if opts.verify || opts.json || opts.inPlace {
			return usagef("--verify, --in-place and --json do not go with TARGET -")
		}
	} else if err := outsideOf(opts.repo, target); err != nil {
		return err
	}
	r, all, err := openSnapshots(ctx, env, opts.common)
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	s, err := snapshot.Find(all, args[0])
	if err != nil {
		return err
	}
	var p repo.Progress
	stop := env.progress(opts.common, s.Name, &p)
	defer stop()
	if target == stdio {
		if err := snapshot.WriteStream(ctx, r, s, env.stdout, &p); err != nil {
			return err
		}
		stop()
		return warnOfLost(ctx, env, opts, r, s)
	}
	start := env.now()
	done, err := snapshot.Restore(ctx, r, s, target, snapshot.RestoreOptions{Replace: opts.force, InPlace: opts.inPlace, Verify: opts.verify}, &p)
	stop()
	if err != nil {
		return err
	}
	if err := printRestored(env, opts, s, target, done, env.now().Sub(start)); err != nil {
		return err
	}
	return warnOfLost(ctx, env, opts, r, s)
}

// warnOfLost names the ranges of a restored disk that are zeros because they were lost.
func warnOfLost(ctx context.Context, env *env, opts restoreOptions, r *repo.Repo, s *snapshot.Snapshot) error {
	lost, err := snapshot.Lost(ctx, r, s)
	if err != nil || lost.Count == 0 {
		return err
	}
	ranges := rangesOf(lost, maxLostRanges)
	for _, q := range ranges.Ranges {
		env.warn(opts.common, "bytes %d to %d were lost before this version was repaired, and are zeros", q.Off, q.Off+q.Len)
	}
	if more := ranges.more(); more != "" {
		env.warn(opts.common, "%s, were lost, too", more)
	}
	return fmt.Errorf("%w: %s of the disk are lost", errIncomplete, size(s.Unreadable))
}

func printRestored(env *env, opts restoreOptions, s *snapshot.Snapshot, target string, done *snapshot.Restored, took time.Duration) error {
	written, right, zeroed := done.Written.Load(), done.Right.Load(), done.Zeroed.Load()
	if opts.json {
		return env.printJSON(struct {
			Snapshot string `json:"snapshot"`
			Target   string `json:"target"`
			Size     int64  `json:"size"`
			InPlace  bool   `json:"in_place"`
			Right    int64  `json:"right"`
			Written  int64  `json:"written"`
			Zeroed   int64  `json:"zeroed"`
			Verified bool   `json:"verified"`
			Millis   int64  `json:"millis"`
		}{s.ID.String(), target, s.Size, opts.inPlace, right, written, zeroed, opts.verify, took.Milliseconds()})
	}
	if opts.quiet {
		return nil
	}
	did := fmt.Sprintf("of which %s were written", size(written))
	if opts.inPlace {
		did = fmt.Sprintf("of which %s were right already, %s were written and %s zeroed", size(right), size(written), size(zeroed))
	}
	proof := ""
	if opts.verify {
		proof = "; read back and identical"
	}
	fmt.Fprintf(env.stdout, "restored %s of %s to %s: %s, %s, in %s%s\n",
		shortID(s.ID), s.Name, target, size(s.Size), did, duration(took), proof)
	return nil
}

// outsideOf returns an error for a target in the repository's own folder, by whatever names the two go: a disk has no
// business there, and writing in place would destroy a pack.
func outsideOf(repository, target string) error {
	own, err := os.Stat(repository)
	if err != nil {
		return nil // no folder, so nothing is in it; opening it says why
	}
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	dir, err := filepath.Abs(filepath.Dir(target))
	if err != nil {
		return fmt.Errorf("restore to %s: %w", target, err)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for ; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && os.SameFile(info, own) {
			return fmt.Errorf("restore to %s: it lies in the repository's own folder", target)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
