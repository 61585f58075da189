package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

// Categories of commands in the help text; cli sorts them by name.
const (
	aboutDisks      = "Disks"
	aboutRepository = "Repository"
	aboutPlatter    = "This program"
)

// newApp builds the program. Each command is one line here.
func newApp(env *env) *cli.App {
	version := false
	app := &cli.App{
		Name:                  "platter",
		Usage:                 "backups of whole disks",
		Description:           description,
		CustomAppHelpTemplate: appHelp,
		HideVersion:           true, // cli would use -v for it
		Commands: []*cli.Command{
			backupCommand(env),
			snapshotsCommand(env),
			showCommand(env),
			restoreCommand(env),
			exportCommand(env),
			diffCommand(env),
			mountCommand(env),
			nbdCommand(env),
			bootCommand(env),
			initCommand(env),
			checkCommand(env),
			statsCommand(env),
			forgetCommand(env),
			pruneCommand(env),
			keyCommand(env),
			repairCommand(env),
			parityCommand(env),
			versionCommand(env),
			completionCommand(env),
			manCommand(env),
			helpCommand(),
		},
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "version", Usage: "print the version", Destination: &version, DisableDefaultText: true},
			cli.HelpFlag, // cli leaves it out because of helpCommand
		}, repoFlags(new(common))...), // so that they may come before the command; arrange moves them
		Action: func(c *cli.Context) error {
			if version {
				return runVersion(c.Context, env, versionOptions{}, nil)
			}
			return runGroup(c)
		},
		Reader:                    env.stdin,
		Writer:                    env.stdout,
		ErrWriter:                 env.stderr,
		EnableBashCompletion:      true,
		BashComplete:              complete,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		OnUsageError:              onUsageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // cli would exit by itself
	}
	prepare(app.Commands)
	return app
}

// prepare sets what all commands have in common.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true // so that 'platter show help' shows the snapshot called help
		c.CustomHelpTemplate = commandHelp
		c.BashComplete = complete
		c.Description = wrapped(c.Description)
		if c.Action == nil {
			c.Action = runGroup
		}
		prepare(c.Subcommands)
	}
}

// action returns the action of a command whose flags are parsed into opts.
func action[O any](env *env, opts *O, run func(context.Context, *env, O, []string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := contradiction(c); err != nil {
			return named(c, err)
		}
		err := run(c.Context, env, *opts, c.Args().Slice())
		if o, ok := any(opts).(interface{ finish(error) error }); ok { // it works on a repository
			err = o.finish(err)
		}
		return named(c, err)
	}
}
