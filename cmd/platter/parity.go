package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/pack/parity"
	"platter/repo"
)

func parityCommand(env *env) *cli.Command {
	return &cli.Command{
		Name:        "parity",
		Usage:       "manage parity files, which mend packs when the disk under them loses sectors",
		Category:    aboutRepository,
		Subcommands: []*cli.Command{parityAddCommand(env), parityRemoveCommand(env), parityStatusCommand(env)},
	}
}

type parityAddOptions struct {
	common
	share  parityShare
	verify bool
}

func parityAddCommand(env *env) *cli.Command {
	var opts parityAddOptions
	return &cli.Command{
		Name:  "add",
		Usage: "create parity files for all packs, and for every new pack from now on",
		Description: "Reads every pack that has no parity file of that share, and compares it with its name. A damaged pack is listed and gets no parity file, and the exit code is 3. " +
			"If it is interrupted, run it again. The NAS's disk can then lose that share of a pack's sectors of 4 KiB, in a run or scattered.",
		Flags: append([]cli.Flag{
			&cli.GenericFlag{
				Name: "share", Usage: "`SHARE` of a pack's size that the disk may lose", Value: &opts.share,
				DefaultText: "that of new packs, or 3%",
			},
			&cli.BoolFlag{Name: "verify", Usage: "also read existing parity files, and replace damaged ones", Destination: &opts.verify, DisableDefaultText: true},
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runParityAdd),
	}
}

func runParityAdd(ctx context.Context, env *env, opts parityAddOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	if opts.share == parityOff {
		return usagef("--share 0: use 'parity remove' instead")
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	limitMemory(parity.Memory)
	done, err := withProgress(env, opts.common, "parity", func(p *repo.Progress) (*repo.ParityAdded, error) {
		return r.AddParity(ctx, repo.ParityOptions{Share: int(opts.share), Verify: opts.verify}, p)
	})
	if err != nil {
		return err
	}
	if opts.json {
		if err := env.printJSON(done); err != nil {
			return err
		}
	} else {
		for _, line := range done.Damaged {
			fmt.Fprintf(env.stdout, "damaged: %s\n", printable(line))
		}
		share := parityShare(done.Share)
		fmt.Fprintf(env.stdout, "created %s of %s, %s; %s had one already\n", count(done.Made, "parity file"), share.String(), size(done.Bytes), count(done.Kept, "pack"))
	}
	if n := len(done.Damaged); n > 0 {
		return fmt.Errorf("%w: %s damaged and got no parity; run 'platter check --read-data' to see what is lost", errIncomplete, isAre(n, "pack"))
	}
	return nil
}

type parityRemoveOptions struct{ common }

func parityRemoveCommand(env *env) *cli.Command {
	var opts parityRemoveOptions
	return &cli.Command{
		Name:        "remove",
		Usage:       "delete all parity files, and create none from now on",
		Description: "Only parity files are deleted. A backup that is running may still create some; run this command again when it has ended.",
		Flags:       repoFlags(&opts.common),
		Action:      action(env, &opts, runParityRemove),
	}
}

func runParityRemove(ctx context.Context, env *env, opts parityRemoveOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	done, err := withProgress(env, opts.common, "parity", func(p *repo.Progress) (*repo.ParityRemoved, error) {
		return r.RemoveParity(ctx, p)
	})
	if err != nil {
		return err
	}
	if opts.json {
		return env.printJSON(done)
	}
	fmt.Fprintf(env.stdout, "removed %s, %s\n", count(done.Removed, "parity file"), size(done.Bytes))
	return nil
}

type parityStatusOptions struct{ common }

func parityStatusCommand(env *env) *cli.Command {
	var opts parityStatusOptions
	return &cli.Command{
		Name:        "status",
		Usage:       "print what parity there is, and how much loss it can mend",
		Description: "Only lists the parity files. 'check --read-packs' reads them.",
		Flags:       repoFlags(&opts.common),
		Action:      action(env, &opts, runParityStatus),
	}
}

func runParityStatus(ctx context.Context, env *env, opts parityStatusOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	s, err := r.ParityStatus(ctx)
	if err != nil {
		return err
	}
	if opts.json {
		return env.printJSON(s)
	}
	say := func(format string, args ...any) { fmt.Fprintf(env.stdout, format+"\n", args...) }
	if s.Share == 0 {
		say("new packs get no parity")
	} else {
		share := parityShare(s.Share)
		say("new packs get parity of %s: a pack of %s can lose any %s of %s, %s in total", share.String(), size(s.PackSize),
			count(s.CanLose, "sector"), size(s.SectorSize), size(int64(s.CanLose)*s.SectorSize))
	}
	say("%s with parity, %s without; %s of parity files", count(s.With, "pack"), count(s.Without, "pack"), size(s.Bytes))
	if s.Other > 0 {
		say("%s of another share or length; 'parity add' replaces them", isAre(s.Other, "parity file"))
	}
	if s.Strays > 0 {
		say("%s of packs that no longer exist", isAre(s.Strays, "parity file"))
	}
	if s.Without > 0 && s.Share > 0 {
		say("'parity add' creates the missing files")
	}
	return nil
}
