package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/chunk"
	"platter/repo"
	"platter/repo/crypt"
)

type initOptions struct {
	common
	cost      costOptions
	label     string
	chunkSize byteSize
	packSize  byteSize
	parity    parityShare
}

func initCommand(env *env) *cli.Command {
	opts := initOptions{chunkSize: byteSize(repo.DefaultSettings.Chunks.Avg), packSize: byteSize(repo.DefaultSettings.PackSize)}
	return &cli.Command{
		Name:      "init",
		Usage:     "create a repository",
		ArgsUsage: "[REPO]",
		Category:  aboutRepository,
		Description: "REPO is a folder, new or empty. platter cannot recover the password: without it, everything in the repository is lost. " +
			"The sizes of chunks and packs are fixed for the life of the repository. The defaults suit disks of any size.",
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "label", Usage: "`LABEL` of the password, as 'key list' shows it", Destination: &opts.label},
			&cli.GenericFlag{Name: "parity", Usage: "add this `SHARE` of parity to every pack, such as 3%; it mends a loss of that size; see 'parity add'", Value: &opts.parity},
			&cli.GenericFlag{Name: "chunk-size", Usage: "average `SIZE` of chunks, a power of two; smaller chunks deduplicate better and need more memory", Value: &opts.chunkSize},
			&cli.GenericFlag{Name: "pack-size", Usage: "`SIZE` of packs, the files that hold the chunks", Value: &opts.packSize},
		}, costFlags(&opts.cost)...), repoFlags(&opts.common)...),
		Action: func(c *cli.Context) error {
			if isOn(c, "repo") && c.Args().Present() && c.Args().First() != opts.repo {
				return named(c, usagef("REPO and --repo name two folders: give only one of them"))
			}
			return action(env, &opts, runInit)(c)
		},
	}
}

func runInit(ctx context.Context, env *env, opts initOptions, args []string) error {
	if len(args) > 0 {
		if err := wantArgs(args, "REPO"); err != nil {
			return err
		}
		opts.repo = args[0]
	}
	s, err := openStore(env, opts.common)
	if err != nil {
		return err
	}
	settings, cost := repo.DefaultSettings, opts.cost.cost()
	settings.Chunks, settings.PackSize = chunk.ParamsFor(int64(opts.chunkSize)), int64(opts.packSize)
	settings.Parity = max(0, int(opts.parity))
	settings.FrameSize = min(settings.FrameSize, settings.PackSize)
	if err := settings.Validate(); err != nil {
		return usagef("%v", err)
	}
	if err := cost.Validate(); err != nil {
		return usagef("%v", err)
	}
	if err := repo.Vacant(ctx, s); err != nil { // before a password is asked for
		return fmt.Errorf("init %s: %w", opts.repo, err)
	}
	password, err := env.newPassword(ctx, opts.password)
	if err != nil {
		return err
	}
	r, err := repo.Init(ctx, s, password, cost, opts.label, settings)
	if err != nil {
		return fmt.Errorf("init %s: %w", opts.repo, err)
	}
	env.newLocation(opts.common, r)
	if opts.json {
		return env.printJSON(struct {
			Repository string        `json:"repository"`
			ID         string        `json:"id"`
			Settings   repo.Settings `json:"settings"`
			Cost       crypt.Cost    `json:"password_cost"`
		}{opts.repo, r.ID(), settings, cost})
	}
	fmt.Fprintf(env.stdout, "created repository %s in %s\n", r.ID()[:8], opts.repo)
	env.info(opts.common, "Keep the password safe: without it, nothing in the repository can be read.")
	return nil
}
