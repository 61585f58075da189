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
		Usage: "write the file config again if it is missing or damaged",
		Description: "The file config holds the settings of the repository, and every key has a copy of them. If the file is missing or damaged, " +
			"all commands use a copy and warn; this command writes the file again. It does not change a config that is whole.",
		Flags:  repoFlags(&opts.common),
		Action: action(env, &opts, runRepairConfig),
	}
}

func runRepairConfig(ctx context.Context, env *env, opts repairConfigOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	opts.noFault = true // this command repairs it
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
		fmt.Fprintln(env.stdout, "the config is whole; nothing was changed")
	default:
		fmt.Fprintf(env.stdout, "%s\nthe config was written again\n", printable(done.Fault))
	}
	return nil
}
