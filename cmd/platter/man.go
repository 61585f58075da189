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
			fmt.Fprint(env.stdout, manual(c.App))
			return nil
		},
	}
}

// manual returns the manual page, in the man macros of roff. Commands and flags have the order of the help texts, the common case
// first; cli's own page sorts them by name, and repeats the common flags for each command.
func manual(app *cli.App) string {
	m := new(manPage)
	m.line(".TH PLATTER 1")
	m.heading(".SH", "NAME")
	m.text(app.Name + " - " + app.Usage)
	m.heading(".SH", "SYNOPSIS")
	m.text(app.Name + appUsage)
	m.heading(".SH", "DESCRIPTION")
	m.paragraphs(app.Description)
	m.heading(".SH", "COMMANDS")
	for _, c := range app.Commands {
		if !c.Hidden && c.Name != "help" {
			m.command(app.Name, c)
		}
	}
	m.heading(".SH", "FLAGS OF EVERY COMMAND")
	m.text("'version', 'completion' and 'man' need no repository, and have only some of these flags.")
	m.flags(app.Flags, func(category string) bool { return category == commonFlags })
	return m.String()
}

// A manPage is a manual page that grows.
type manPage struct{ strings.Builder }

func (m *manPage) line(s string) { m.WriteString(s + "\n") }

func (m *manPage) heading(macro, text string) { m.line(macro + ` "` + roff(text) + `"`) }

// text adds a line of prose.
func (m *manPage) text(s string) {
	s = roff(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, `\(aq`) {
		s = `\&` + s // otherwise, a request
	}
	m.line(s)
}

// paragraphs adds a description. Indented lines are examples, and stay as they are.
func (m *manPage) paragraphs(description string) {
	for i, paragraph := range strings.Split(description, "\n\n") {
		if i > 0 {
			m.line(".PP")
		}
		example := strings.HasPrefix(paragraph, " ")
		if example {
			m.line(".EX")
		}
		for l := range strings.SplitSeq(paragraph, "\n") {
			m.text(l)
		}
		if example {
			m.line(".EE")
		}
	}
}

// command adds a command, and those below it.
func (m *manPage) command(parent string, c *cli.Command) {
	name := parent + " " + c.Name
	for _, sub := range c.Subcommands {
		m.command(name, sub)
	}
	if len(c.Subcommands) > 0 {
		return
	}
	m.heading(".SS", strings.TrimSpace(name+" [FLAGS] "+c.ArgsUsage))
	m.text(strings.ToUpper(c.Usage[:1]) + c.Usage[1:] + ".")
	if len(c.Aliases) > 0 {
		m.text("Also called " + strings.Join(c.Aliases, " and ") + ".")
	}
	if c.Description != "" {
		m.line(".PP")
		m.paragraphs(c.Description)
	}
	m.flags(c.Flags, func(category string) bool { return category != commonFlags })
}

// flags adds the flags of the categories that want accepts.
func (m *manPage) flags(flags []cli.Flag, want func(category string) bool) {
	heading := ""
	for _, f := range flags {
		category := ""
		if c, ok := f.(cli.CategorizableFlag); ok {
			category = c.GetCategory()
		}
		if v, ok := f.(cli.VisibleFlag); !want(category) || f.Names()[0] == cli.HelpFlag.Names()[0] || ok && !v.IsVisible() {
			continue
		}
		if category != heading && category != commonFlags {
			m.line(".PP")
			m.text(category)
		}
		heading = category
		title, usage, _ := strings.Cut(f.String(), "\t")
		m.line(".TP")
		m.line(`\fB` + roff(title) + `\fR`)
		m.text(usage)
	}
}

// roff escapes what roff would interpret, and keeps quotes and hyphens as they are typed.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "~", `\(ti`, "^", `\(ha`, "…", `\[u2026]`, `"`, `\(dq`).Replace(s)
}
