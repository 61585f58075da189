package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestManual checks that the manual page has every command and every flag, in the order in which they are declared: the common
// case first.
func TestManual(t *testing.T) {
	app := newApp(docEnv(nil))
	page := manual(app)
	next := func(want string) {
		t.Helper()
		before, after, ok := strings.Cut(page, roff(want))
		if !ok {
			t.Fatalf("%q is missing, or comes too early", want)
		}
		if strings.Contains(before, "\n\n") {
			t.Errorf("an empty line before %q", want)
		}
		page = after
	}
	var command func(name string, c *cli.Command)
	command = func(name string, c *cli.Command) {
		name += " " + c.Name
		for _, sub := range c.Subcommands {
			command(name, sub)
		}
		if len(c.Subcommands) > 0 {
			return
		}
		next(name + " [FLAGS]")
		for _, f := range c.Flags {
			if with, ok := f.(cli.CategorizableFlag); !ok || with.GetCategory() != commonFlags {
				next("--" + f.Names()[0])
			}
		}
	}
	for _, c := range app.Commands {
		if c.Name != "help" {
			command("platter", c)
		}
	}
	next("FLAGS OF EVERY COMMAND")
	for _, f := range repoFlags(new(common)) {
		next("--" + f.Names()[0])
	}
}
