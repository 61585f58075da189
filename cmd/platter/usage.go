package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// errUsage is the class of all errors about arguments or flags (errors.Is).
var errUsage = errors.New("wrong usage")

// A usageError says what is wrong with the command line, and names the help text to read.
type usageError struct {
	problem string
	command string // as in "platter help COMMAND"; empty for platter itself
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%s; see '%s'", e.problem, strings.TrimSpace("platter help "+e.command))
}

func (e *usageError) Is(target error) bool { return target == errUsage }

// usagef returns an error about the command line: exit code 2. The command's name is added on the way up.
func usagef(format string, args ...any) error {
	return &usageError{problem: fmt.Sprintf(format, args...)}
}

// wantArgs returns a usage error unless there are as many arguments as names, such as "SNAPSHOT".
func wantArgs(args []string, names ...string) error {
	switch {
	case len(args) < len(names):
		return usagef("missing argument: %s", strings.Join(names[len(args):], " "))
	case len(args) > len(names):
		return usagef("unexpected argument: %q", args[len(names)])
	}
	return nil
}

// commandPath is the name of a command for 'platter help'.
func commandPath(c *cli.Context) string {
	_, path, _ := strings.Cut(c.Command.HelpName, " ")
	return path
}

// named adds the command to a usage error.
func named(c *cli.Context, err error) error {
	if usage, ok := errors.AsType[*usageError](err); ok && usage.command == "" {
		usage.command = commandPath(c)
	}
	return err
}

// onUsageError turns an error of the flag package into a usage error.
func onUsageError(c *cli.Context, err error, _ bool) error {
	return named(c, usagef("%s", flagProblem(c.Command.Flags, err.Error())))
}

// flagProblem rewrites the messages of Go's flag package, which know only flags with one dash.
func flagProblem(flags []cli.Flag, message string) string {
	if name, ok := strings.CutPrefix(message, "flag provided but not defined: -"); ok {
		return "unknown flag " + dashed(name) + didYouMean(name, strings.TrimLeft(cli.SuggestFlag(flags, name, false), "-"), dashed)
	}
	if name, ok := strings.CutPrefix(message, "flag needs an argument: -"); ok {
		return "flag " + dashed(name) + " needs a value"
	}
	before, after, ok := strings.Cut(message, " for flag -")
	if !ok {
		before, after, ok = strings.Cut(message, " for -")
	}
	if name, why, colon := strings.Cut(after, ": "); ok && colon {
		return before + " for " + dashed(name) + ": " + why
	}
	return message
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// unknownCommand is the error for an argument that is not a command.
func unknownCommand(c *cli.Context, name string) error {
	suggestion := cli.SuggestCommand(c.Command.Subcommands, name)
	if _, quoted, ok := strings.Cut(suggestion, `"`); ok {
		suggestion, _, _ = strings.Cut(quoted, `"`)
	}
	plain := func(s string) string { return s }
	return named(c, usagef("unknown command %q%s", name, didYouMean(name, suggestion, plain)))
}

// didYouMean formats a suggestion. cli always has one; if it begins with another letter, it is a guess and left out.
func didYouMean(name, suggestion string, word func(string) string) string {
	if name == "" || suggestion == "" || name[0] != suggestion[0] {
		return ""
	}
	return " (did you mean " + word(suggestion) + "?)"
}
