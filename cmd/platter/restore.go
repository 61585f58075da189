package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"platter/repo"
	"platter/snapshot"
)

type restoreOptions struct {
	common
	force, verify bool
}

func restoreCommand(env *env) *cli.Command {
	var opts restoreOptions
	return &cli.Command{
		Name:      "restore",
		Usage:     "give a disk back, byte for byte",
		ArgsUsage: "SNAPSHOT TARGET",
		Category:  aboutDisks,
		Description: aboutSnapshotArgument + "\n\nTARGET is a new file, which takes no more room than the data, or - for standard output. " +
			"The file has its name only once all of it is written and safe on its disk.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace TARGET if it is there", Destination: &opts.force, DisableDefaultText: true},
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
	if target == stdio {
		if f, ok := env.stdout.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return usagef("TARGET - would fill the terminal with a disk; redirect it")
		}
		if opts.verify || opts.json {
			return usagef("--verify and --json do not go with TARGET -")
		}
	}
	r, all, err := openSnapshots(ctx, env, opts.common)
	if err != nil {
		return err
	}
	s, err := snapshot.Find(all, args[0])
	if err != nil {
		return err
	}
	var p repo.Progress
	stop := env.progress(opts.common, s.Name, &p)
	defer stop()
	if target == stdio {
		return snapshot.WriteStream(ctx, r, s, env.stdout, &p)
	}
	start := env.now()
	done, err := snapshot.Restore(ctx, r, s, target, snapshot.RestoreOptions{Replace: opts.force, Verify: opts.verify}, &p)
	stop()
	if err != nil {
		return err
	}
	took := env.now().Sub(start)
	if opts.json {
		return env.printJSON(struct {
			Snapshot string `json:"snapshot"`
			Target   string `json:"target"`
			Size     int64  `json:"size"`
			Written  int64  `json:"written"`
			Verified bool   `json:"verified"`
			Millis   int64  `json:"millis"`
		}{s.ID.String(), target, s.Size, done.Written.Load(), opts.verify, took.Milliseconds()})
	}
	if opts.quiet {
		return nil
	}
	proof := ""
	if opts.verify {
		proof = "; read back and identical"
	}
	fmt.Fprintf(env.stdout, "restored %s of %s to %s: %s, of which %s were written, in %s%s\n",
		shortID(s.ID), s.Name, target, size(s.Size), size(done.Written.Load()), duration(took), proof)
	return nil
}
