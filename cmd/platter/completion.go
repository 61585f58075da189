package main

import (
	_ "embed"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

var (
	//go:embed completion.bash
	bashScript string
	//go:embed completion.zsh
	zshScript string
)

const completionHelp = `Load the script into the running shell, or install it:

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
		Usage:       "print a script that makes a shell complete commands and flags",
		Description: completionHelp,
		Category:    aboutPlatter,
		Subcommands: []*cli.Command{
			script("bash", func(*cli.App) (string, error) { return bashScript, nil }),
			script("zsh", func(*cli.App) (string, error) { return zshScript, nil }),
			script("fish", fishScript),
		},
	}
}

// complete prints the candidates at the cursor: flags or commands, each with a tab and its usage. It prints nothing if a file name
// is expected. The last argument but one is the word at the cursor if that begins with a dash, and empty otherwise.
func complete(c *cli.Context) {
	args := os.Args[1 : len(os.Args)-1]
	if len(args) == 0 {
		args = []string{""}
	}
	before, word := args[:len(args)-1], args[len(args)-1]
	if slices.Contains(before, "--") || len(before) > 0 && wantsValue(c.Command.Flags, before[len(before)-1]) {
		return
	}
	if !strings.HasPrefix(word, "-") {
		for _, command := range c.Command.VisibleCommands() {
			fmt.Fprintf(c.App.Writer, "%s\t%s\n", command.Name, command.Usage)
		}
		return
	}
	for _, f := range c.Command.VisibleFlags() {
		usage := ""
		if doc, ok := f.(cli.DocGenerationFlag); ok {
			usage = strings.ReplaceAll(doc.GetUsage(), "`", "")
		}
		fmt.Fprintf(c.App.Writer, "%s\t%s\n", dashed(f.Names()[0]), usage)
	}
}

// wantsValue reports whether a word is a flag whose value comes next.
func wantsValue(flags []cli.Flag, word string) bool {
	name, dash := strings.CutPrefix(word, "-")
	return dash && definitions(flags)[strings.TrimPrefix(name, "-")].takesValue
}

// fishScript is cli's, except that it does not offer file names among the commands.
func fishScript(app *cli.App) (string, error) {
	s, err := app.ToFishCompletion()
	return s + "complete -c platter -n __fish_platter_no_subcommand -f\n", err
}
