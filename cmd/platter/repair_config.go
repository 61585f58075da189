package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"
)

type repairConfigOptions struct{ common }

func repairConfigCommand(env *env) *cli.Command {
	var opts repairConfigOptions
	return &cli.Command{
		Name:  "config",
		Usage: "write the config again where it is missing or damaged",
		Description: "The repository's settings are kept in the file config, and every key has a copy of them. Where that file is missing or " +
			"damaged, all commands work by the copies and say so; this one writes the file again. A whole config stays as it is.",
		Flags:  repoFlags(&opts.common),
		Action: action(env, &opts, runRepairConfig),
	}
}

func runRepairConfig(ctx context.Context, env *env, opts repairConfigOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	opts.noFault = true // it is what this command is about
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	done, err := r.RepairConfig(ctx)
	if err != nil {
		return err
	}
	switch {
	case opts.json:
		return env.printJSON(done)
	case done.Fault == "":
		fmt.Fprintln(env.stdout, "the config is whole; nothing was done")
	default:
		fmt.Fprintf(env.stdout, "%s\nthe config was written again\n", printable(done.Fault))
	}
	return nil
}
