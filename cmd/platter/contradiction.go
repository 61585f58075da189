package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

// A lineFlag is a flag that must be told from the variable which may stand for it: what is on the command line goes first.
// For cli, one that has its value from a variable is not set. It may not be empty: that is a variable of a script that has
// none, and believed, something else would be taken.
type lineFlag struct {
	*cli.StringFlag
	fallback bool // without it, Destination is the variable's value
}

// onLine makes a lineFlag.
func onLine(f *cli.StringFlag, fallback bool) cli.Flag {
	f.Action = func(c *cli.Context, value string) error {
		if value == "" {
			return named(c, usagef("--%s is empty", f.Name))
		}
		return nil
	}
	return &lineFlag{f, fallback}
}

// Apply is cli's, but for the variables.
func (f *lineFlag) Apply(set *flag.FlagSet) error {
	variables := f.EnvVars
	f.EnvVars = nil // cli takes them for the command line
	err := f.StringFlag.Apply(set)
	f.EnvVars = variables // help tells of them
	if err != nil || !f.fallback {
		return err
	}
	for _, name := range variables {
		if value := os.Getenv(name); value != "" {
			return set.Lookup(f.Name).Value.Set(value)
		}
	}
	return nil
}

// contradictions are flags of which only one can be meant. What does not go together for other reasons, each command says by
// itself.
func contradictions() [][2]string {
	return [][2]string{
		{"password-file", "password-command"},
		{"new-password-file", "new-password-command"},
		{"from-password-file", "from-password-command"},
		{"cache-dir", "no-cache"},
	}
}

// companions are flags that mean nothing without another.
func companions() [][2]string {
	return [][2]string{
		{"from-password-file", "from"},
		{"from-password-command", "from"},
	}
}

// contradiction returns a usage error for flags on the command line that do not go together.
func contradiction(c *cli.Context) error {
	for _, pair := range contradictions() {
		if isOn(c, pair[0]) && isOn(c, pair[1]) {
			return usagef("--%s and --%s contradict each other: give one of them", pair[0], pair[1])
		}
	}
	for _, pair := range companions() {
		if isOn(c, pair[0]) && !isOn(c, pair[1]) {
			return usagef("--%s is for --%s, which is not given", pair[0], pair[1])
		}
	}
	return nil
}

// isOn reports whether a flag of this command was given, and is not one that says no.
func isOn(c *cli.Context, name string) bool {
	for _, f := range c.Command.Flags {
		if f.Names()[0] == name && c.IsSet(name) {
			return fmt.Sprint(c.Value(name)) != "false"
		}
	}
	return false
}
