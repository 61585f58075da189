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
		Usage:     "restore a disk to a file or device, byte for byte",
		ArgsUsage: "SNAPSHOT TARGET",
		Category:  aboutDisks,
		Description: "TARGET is a new file, or - for standard output. Zeros take no room in the file. " +
			"The file gets its name only when it is complete and durable; the umask decides who may read it. " +
			"--force replaces an existing file and keeps its owner and mode. If TARGET is a link, the file that it points to is written.\n\n" +
			"With --in-place, TARGET is an existing file, such as an older version of the disk. Only what differs from SNAPSHOT is fetched and written. " +
			"A file in use is refused: locked, open for writing, used for swap or by a loop device. " +
			"After an interruption, the file is a mixture of both disks; run the same command again to complete it.\n\n" +
			aboutDeviceTarget + "\n\n" + aboutSnapshotArgument + " " + aboutPartArgument,
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "in-place", Usage: "write only what differs into the existing TARGET; default for a device", Destination: &opts.inPlace, DisableDefaultText: true},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace TARGET if it exists", Destination: &opts.force, DisableDefaultText: true},
			&cli.BoolFlag{Name: "verify", Usage: "read TARGET back and verify every byte; default for a device", Destination: &opts.verify, DisableDefaultText: true},
			&cli.BoolFlag{Name: "no-verify", Usage: "do not read a device back", Destination: &opts.noVerify, DisableDefaultText: true},
			&cli.BoolFlag{Name: "plan", Usage: "only print what would be fetched and written, and about how long it takes", Destination: &opts.plan, DisableDefaultText: true},
			&cli.BoolFlag{Name: "force-in-use", Usage: "write although a program has TARGET open for writing, or locked; never if it is mounted or behind a loop device", Destination: &opts.forceInUse, DisableDefaultText: true},
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
	r, s, part, err := env.openVersion(ctx, opts.common, args[0])
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	return r.Reading(ctx, repo.Restoring, []pack.FileID{s.ID}, func(ctx context.Context) error {
		return restoreToFile(ctx, env, opts, r, restoring{snapshot: s, part: part, target: target})
	})
}

// restoreToFile restores to a file, or to standard output.
func restoreToFile(ctx context.Context, env *env, opts restoreOptions, r *repo.Repo, what restoring) error {
	var p repo.Progress
	stop := env.progress(opts.common, what.snapshot.Name, &p)
	defer stop()
	o := restore.Options{
		Replace: opts.force, InPlace: opts.inPlace, Verify: opts.verify, ForceInUse: opts.forceInUse,
		Unfinished: &env.unfinished,
	}
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

// checkRestore returns an error for flags that do not go together or with the target.
func checkRestore(env *env, opts restoreOptions, target string) error {
	isDevice := restore.IsDevice(target)
	switch {
	case opts.force && opts.inPlace:
		return usagef("--force replaces TARGET and --in-place writes into it: give only one of them")
	case opts.verify && opts.noVerify:
		return usagef("--verify and --no-verify contradict each other")
	case isDevice && opts.force:
		return usagef("--force replaces a file; a device is written in place")
	case !isDevice && opts.device.needed() != "":
		return usagef("%s is for a device, and %s is not one", opts.device.needed(), target)
	case target == stdio && (opts.verify || opts.json || opts.inPlace || opts.plan):
		return usagef("--verify, --in-place, --plan and --json cannot be used with TARGET -")
	case target == stdio && opts.force:
		return usagef("--force replaces a file, and TARGET - is standard output")
	case target != stdio:
		return cmp.Or(localFile("TARGET", target), noSuchDevice(target))
	}
	if err := env.stdout.forDisk(); err != nil {
		return err
	}
	if f, ok := env.stdout.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return usagef("TARGET - would print a disk to the terminal; redirect standard output")
	}
	return nil
}

// noSuchDevice returns an error for the name of a device that does not exist: a file of that name in /dev would fill the memory.
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

// outsideOf returns an error for a target in the repository's own folder, also through links: writing in place would destroy a
// pack.
func outsideOf(repository, target string) error {
	own, err := os.Stat(repository)
	if err != nil {
		return nil // opening the repository reports this
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
			return fmt.Errorf("restore to %s: it is in the folder of the repository; choose a target outside it", target)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
