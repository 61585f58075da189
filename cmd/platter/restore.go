package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"platter/pack"
	"platter/repo"
	"platter/snapshot/restore"
)

type restoreOptions struct {
	common
	force, inPlace, verify, noVerify, plan bool
	forceInUse                             bool
	device                                 deviceOptions
}

func restoreCommand(env *env) *cli.Command {
	var opts restoreOptions
	return &cli.Command{
		Name:      "restore",
		Usage:     "give a disk back, byte for byte",
		ArgsUsage: "SNAPSHOT TARGET",
		Category:  aboutDisks,
		Description: aboutSnapshotArgument + " " + aboutPartArgument + "\n\nTARGET is a new file, which takes no more room than the data, or - for standard output. " +
			"The file has its name only once all of it is written and safe on its disk. Who may read it is up to the umask. With --force it replaces " +
			"a file, whose owner and mode it gets. A link is followed: the file that it leads to is written." +
			"\n\nWith --in-place TARGET is a file that is there, an older version of the disk as a rule. What it holds is compared with " +
			"the snapshot, and only what differs is fetched and written. A file that is in use is refused: locked, open for writing, behind a loop device, swapped to. Until the command is " +
			"done, the file is neither the one disk nor the other; where it was interrupted, the same command goes on." +
			"\n\n" + aboutDeviceTarget,
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace TARGET if it is there", Destination: &opts.force, DisableDefaultText: true},
			&cli.BoolFlag{Name: "in-place", Usage: "write into TARGET, which is there, what differs from SNAPSHOT; always so for a device", Destination: &opts.inPlace, DisableDefaultText: true},
			&cli.BoolFlag{Name: "force-in-use", Usage: "write though a program has TARGET open for writing, or locked; never if it is mounted, or behind a loop device", Destination: &opts.forceInUse, DisableDefaultText: true},
			&cli.BoolFlag{Name: "plan", Usage: "only say what would be fetched and written, and how long that may take", Destination: &opts.plan, DisableDefaultText: true},
			&cli.BoolFlag{Name: "verify", Usage: "read TARGET back and prove every byte of it; always so for a device", Destination: &opts.verify, DisableDefaultText: true},
			&cli.BoolFlag{Name: "no-verify", Usage: "do not read a device back", Destination: &opts.noVerify, DisableDefaultText: true},
		}, deviceFlags(&opts.device)...), repoFlags(&opts.common)...),
		Action: action(env, &opts, runRestore),
	}
}

func runRestore(ctx context.Context, env *env, opts restoreOptions, args []string) error {
	if err := wantArgs(args, "SNAPSHOT", "TARGET"); err != nil {
		return err
	}
	target := args[1]
	if err := checkRestore(env, opts, target); err != nil {
		return err
	}
	if restore.IsDevice(target) {
		return restoreToDevice(ctx, env, opts, args[0], target)
	}
	if target != stdio {
		if err := outsideOf(opts.repo, target); err != nil {
			return err
		}
	}
	r, all, err := openSnapshots(ctx, env, opts.common)
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	s, part, err := env.findPart(ctx, opts.common, r, all, args[0])
	if err != nil {
		return err
	}
	return r.Reading(ctx, repo.Restoring, []pack.FileID{s.ID}, func(ctx context.Context) error {
		return restoreToFile(ctx, env, opts, r, restoring{snapshot: s, part: part, target: target})
	})
}

// restoreToFile restores to a file, or to standard output.
func restoreToFile(ctx context.Context, env *env, opts restoreOptions, r *repo.Repo, what restoring) error {
	var p repo.Progress
	stop := env.progress(opts.common, what.snapshot.Name, &p)
	defer stop()
	o := restore.Options{Replace: opts.force, InPlace: opts.inPlace, Verify: opts.verify, ForceInUse: opts.forceInUse,
		Unfinished: &env.unfinished}
	start := env.now()
	switch {
	case what.target == stdio:
		if err := restore.ToStream(ctx, r, what.snapshot, what.part, env.stdout.raw(), &p); err != nil {
			return err
		}
		stop()
	case opts.plan:
		plan, err := restore.PlanFile(ctx, r, what.snapshot, what.part, what.target, o, &p)
		stop()
		if err != nil {
			return err
		}
		return printRestorePlan(env, opts, what, plan)
	default:
		done, err := restore.ToFile(ctx, r, what.snapshot, what.part, what.target, o, &p)
		stop()
		if err != nil {
			return err
		}
		warnUnsynced(env, opts.common, what.target, done.Unsynced)
		if err := printRestored(env, opts, what, done, env.now().Sub(start)); err != nil {
			return err
		}
	}
	return warnOfLost(ctx, env, opts.common, r, what.snapshot, what.part)
}

// checkRestore returns an error for flags that do not go together, or not with the target.
func checkRestore(env *env, opts restoreOptions, target string) error {
	isDevice := restore.IsDevice(target)
	switch {
	case opts.force && opts.inPlace:
		return usagef("--force replaces TARGET and --in-place writes into it; say one of them")
	case opts.verify && opts.noVerify:
		return usagef("--verify and --no-verify contradict each other")
	case isDevice && opts.force:
		return usagef("--force replaces a file; a device is written in place")
	case !isDevice && opts.device.needed() != "":
		return usagef("%s is for a device, and %s is none", opts.device.needed(), target)
	case target == stdio && (opts.verify || opts.json || opts.inPlace || opts.plan):
		return usagef("--verify, --in-place, --plan and --json do not go with TARGET -")
	case target == stdio && opts.force:
		return usagef("--force replaces a file, and TARGET - is none")
	case target != stdio:
		return cmp.Or(localFile("TARGET", target), noSuchDevice(target))
	}
	if err := env.stdout.forDisk(); err != nil {
		return err
	}
	if f, ok := env.stdout.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return usagef("TARGET - would fill the terminal with a disk; redirect it")
	}
	return nil
}

// noSuchDevice returns an error for the name of a device that is not there: a file by that name would fill the memory.
func noSuchDevice(target string) error {
	path, err := filepath.Abs(target)
	if err != nil || !strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/dev/shm/") {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("restore to %s: %w", target, err)
	}
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
