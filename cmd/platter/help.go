package main

import (
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
)

const description = `platter stores every version of a disk in one encrypted, deduplicated repository. A repository is
a folder, for example on a mounted NAS. Set its path once:

    export PLATTER_REPOSITORY=/mnt/nas/disks
    platter init
    platter backup /dev/sda --name laptop
    platter snapshots
    platter restore laptop~1 laptop.img

The password comes from the variable PLATTER_PASSWORD, a file or a command; otherwise platter asks
for it on the terminal. Flags may come before or after a command and its arguments.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 done but not completely, 10 no repository found,
11 in use by another command, 12 wrong password, 130 interrupted.`

// appUsage follows the program's name in its synopsis.
const appUsage = " COMMAND [FLAGS] [ARGUMENT...]"

// flagsHelp is the list of flags. They keep the order in which they are declared, the common case first; cli would sort them by
// name. A heading comes before the flags of a category.
const flagsHelp = `{{$heading := ""}}{{range .VisibleFlags}}{{if ne (index .Names 0) "help"}}{{if ne .GetCategory $heading}}{{$heading = .GetCategory}}

   {{$heading}}
{{end}}
   {{wrap .String 6}}{{end}}{{end}}
`

// appHelp is the help text of the program; the templates in it are cli's.
const appHelp = `NAME:
   {{template "helpNameTemplate" .}}

USAGE:
   {{.HelpName}}` + appUsage + `

DESCRIPTION:
   {{template "descriptionTemplate" .}}

COMMANDS:{{template "visibleCommandCategoryTemplate" .}}

FLAGS:` + flagsHelp + `
'platter help COMMAND' describes a command and its flags.
`

// commandHelp is the help text of a command.
const commandHelp = `NAME:
   {{template "helpNameTemplate" .}}

USAGE:
   {{.HelpName}}{{if .VisibleCommands}} COMMAND{{end}} [FLAGS]{{with .ArgsUsage}} {{.}}{{end}}{{if .Description}}

DESCRIPTION:
   {{template "descriptionTemplate" .}}{{end}}{{if .VisibleCommands}}

COMMANDS:{{template "visibleCommandTemplate" .}}{{else if gt (len .VisibleFlags) 1}}

FLAGS:` + flagsHelp + `{{else}}
{{end}}`

// helpCommand replaces cli's: it knows subcommands, and an unknown command is a usage error.
func helpCommand() *cli.Command {
	return &cli.Command{
		Name:      "help",
		Aliases:   []string{"h"},
		Usage:     "describe a command",
		ArgsUsage: "[COMMAND...]",
		Category:  aboutPlatter,
		Action: func(c *cli.Context) error {
			args := append([]string{c.App.Name}, c.Args().Slice()...)
			return c.App.RunContext(c.Context, append(args, "--help"))
		},
	}
}

// runGroup is the action of a command with subcommands: it prints help.
func runGroup(c *cli.Context) error {
	if name := c.Args().First(); name != "" && name != "help" && name != "h" {
		return unknownCommand(c, name)
	}
	if c.Command.HelpName == c.App.Name {
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
}

// textWidth is how wide help texts are, in columns; cli indents them by three.
const textWidth = 96

// wrapped breaks the lines of a description, except those that are indented: they are examples.
func wrapped(description string) string {
	var out []string
	for line := range strings.SplitSeq(description, "\n") {
		if !strings.HasPrefix(line, " ") {
			line = text.WrapSoft(line, textWidth)
		}
		for short := range strings.SplitSeq(line, "\n") {
			out = append(out, strings.TrimRight(short, " ")) // WrapSoft fills up with spaces
		}
	}
	return strings.Join(out, "\n")
}
