package main

import (
	_ "embed"
	"fmt"

	"github.com/urfave/cli/v2"
)

var (
	//go:embed completion.bash
	bashScript string
	//go:embed completion.zsh
	zshScript string
)

const completionHelp = `Load it in the shell that is running, or for good:

   bash   source <(platter completion bash)
          platter completion bash > ~/.local/share/bash-completion/completions/platter
   zsh    source <(platter completion zsh)
          platter completion zsh > "${fpath[1]}/_platter"
   fish   platter completion fish | source
          platter completion fish > ~/.config/fish/completions/platter.fish`

func completionCommand(env *env) *cli.Command {
	script := func(shell string, text func(*cli.App) (string, error)) *cli.Command {
		return &cli.Command{
			Name:  shell,
			Usage: "print the script for " + shell,
			Action: func(c *cli.Context) error {
				if err := wantArgs(c.Args().Slice()); err != nil {
					return named(c, err)
				}
				s, err := text(c.App)
				if err != nil {
					return fmt.Errorf("make completion script: %w", err)
				}
				fmt.Fprint(env.stdout, s)
				return nil
			},
		}
	}
	return &cli.Command{
		Name:        "completion",
		Usage:       "print a script that makes a shell complete platter's commands and flags",
		Description: completionHelp,
		Category:    aboutPlatter,
		Subcommands: []*cli.Command{
			script("bash", func(*cli.App) (string, error) { return bashScript, nil }),
			script("zsh", func(*cli.App) (string, error) { return zshScript, nil }),
			script("fish", fishScript),
		},
	}
}

// fishScript is cli's, except that file names do not stand among the commands.
func fishScript(app *cli.App) (string, error) {
	s, err := app.ToFishCompletion()
	return s + "complete -c platter -n __fish_platter_no_subcommand -f\n", err
}
