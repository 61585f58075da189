package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/repo"
)

func repairCommand(env *env) *cli.Command {
	return &cli.Command{
		Name:        "repair",
		Usage:       "repair damage",
		Category:    aboutRepository,
		Subcommands: []*cli.Command{repairPacksCommand(env), repairIndexCommand(env), repairConfigCommand(env), repairSnapshotsCommand(env)},
	}
}

type repairIndexOptions struct{ common }

func repairIndexCommand(env *env) *cli.Command {
	var opts repairIndexOptions
	return &cli.Command{
		Name:  "index",
		Usage: "rebuild the index from the packs",
		Description: "Use it if index files are missing or damaged, or if no index file lists the packs of an interrupted backup. " +
			"It reads the table of every pack, writes new index files, and then removes the old ones.",
		Flags:  repoFlags(&opts.common),
		Action: action(env, &opts, runRepairIndex),
	}
}

func runRepairIndex(ctx context.Context, env *env, opts repairIndexOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	opts.noCache = true // the repository itself is repaired
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	done, err := withProgress(env, opts.common, "repair index", func(p *repo.Progress) (*repo.Repaired, error) {
		return r.RepairIndex(ctx, p)
	})
	if err != nil {
		return err
	}
	if opts.json {
		if err := env.printJSON(done); err != nil {
			return err
		}
	} else {
		for _, line := range done.Unreadable {
			fmt.Fprintf(env.stdout, "unreadable before: %s\n", line)
		}
		for _, line := range done.Lost {
			fmt.Fprintf(env.stdout, "lost: %s\n", line)
		}
		fmt.Fprintf(env.stdout, "%s in %s; removed %s\n", count(done.Packs, "pack"), count(done.Index, "new index file"), count(done.Removed, "old one"))
	}
	if len(done.Lost) > 0 {
		return fmt.Errorf("%w: %s could not be read; run 'platter check' to see what is lost", errIncomplete, count(len(done.Lost), "pack"))
	}
	return nil
}
