package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

// A lineFlag is a flag whose value on the command line takes precedence over that of its environment variable. cli does not
// distinguish the two. Its value must not be empty: a script may have passed an unset variable, and platter would use something
// else.
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

// Apply is cli's, except for the variables.
func (f *lineFlag) Apply(set *flag.FlagSet) error {
	variables := f.EnvVars
	f.EnvVars = nil // cli would treat them as the command line
	err := f.StringFlag.Apply(set)
	f.EnvVars = variables // for the help text
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

// contradictions are pairs of flags that exclude each other. Each command checks other combinations itself.
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

// contradiction returns a usage error for flags on the command line that contradict each other.
func contradiction(c *cli.Context) error {
	for _, pair := range contradictions() {
		if isOn(c, pair[0]) && isOn(c, pair[1]) {
			return usagef("--%s and --%s contradict each other: give only one of them", pair[0], pair[1])
		}
	}
	for _, pair := range companions() {
		if isOn(c, pair[0]) && !isOn(c, pair[1]) {
			return usagef("--%s needs --%s", pair[0], pair[1])
		}
	}
	return nil
}

// isOn reports whether a flag of this command was given, other than as false.
func isOn(c *cli.Context, name string) bool {
	for _, f := range c.Command.Flags {
		if f.Names()[0] == name && c.IsSet(name) {
			return fmt.Sprint(c.Value(name)) != "false"
		}
	}
	return false
}
