package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func manCommand(env *env) *cli.Command {
	return &cli.Command{
		Name:        "man",
		Usage:       "print the manual page",
		Description: "Install it with 'platter man > /usr/local/share/man/man1/platter.1', or read it with 'platter man | man -l -'.",
		Category:    aboutPlatter,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c.Args().Slice()); err != nil {
				return named(c, err)
			}
			explain(c.App.Commands, c.App.Name)
			page, err := c.App.ToManWithSection(1)
			if err != nil {
				return fmt.Errorf("make manual page: %w", err)
			}
			fmt.Fprint(env.stdout, page)
			return nil
		},
	}
}

// explain moves usage and description of each command to where cli puts them into the manual page.
func explain(commands []*cli.Command, program string) {
	for _, c := range commands {
		name := program + " " + c.Name
		explain(c.Subcommands, name)
		if len(c.Subcommands) > 0 {
			name += " COMMAND"
		}
		c.UsageText = strings.TrimSpace(strings.TrimSpace(name+" [FLAGS] "+c.ArgsUsage) + "\n\n" + c.Description)
	}
}
