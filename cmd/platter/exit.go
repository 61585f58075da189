package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"platter/repo"
	"platter/repo/crypt"
)

var (
	// errIncomplete says that a command did what it could, and that this is not all it was asked for.
	errIncomplete = errors.New("done, but not completely")
	// errInterrupted says that a signal came before the command was done.
	errInterrupted = errors.New("interrupted")
)

// exitCode is the one place that turns errors into exit codes. docs and scripts rely on them: none may change.
func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted):
		return 130
	case errors.Is(err, errUsage):
		return 2
	case onlyIncomplete(err):
		return 3
	case errors.Is(err, repo.ErrNoRepository):
		return 10
	case errors.Is(err, repo.ErrInUse):
		return 11
	case errors.Is(err, crypt.ErrWrongPassword):
		return 12
	}
	return 1
}

// onlyIncomplete reports whether a command did its work, but not all of it. An error that was joined to that and is of
// another kind is a failure: errors.Is would hide it.
func onlyIncomplete(err error) bool {
	switch e := err.(type) {
	case nil:
		return false
	case interface{ Unwrap() error }:
		return onlyIncomplete(e.Unwrap())
	case interface{ Unwrap() []error }:
		parts := e.Unwrap()
		if isJoined(err) {
			return !slices.ContainsFunc(parts, func(err error) bool { return !onlyIncomplete(err) })
		}
		return slices.ContainsFunc(parts, onlyIncomplete) // a class, and what it was about
	}
	return err == errIncomplete
}

// isJoined reports whether an error is of errors.Join, whose parts stand for themselves. Those of fmt.Errorf describe each other.
func isJoined(err error) bool {
	return reflect.TypeOf(err) == reflect.TypeOf(errors.Join(errIncomplete))
}

// interrupted tells what a signal did to a command from what went wrong by itself.
func interrupted(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, cause)) {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	return err
}

// report prints an error, if there is one, and returns the exit code.
func (e *env) report(err error, asJSON bool) int {
	code := exitCode(err)
	if err == nil || e.stdout.unread(err) {
		return code
	}
	text := err.Error()
	if errors.Is(err, errInterrupted) {
		text = errInterrupted.Error() // how it was interrupted says nothing new
	}
	if asJSON {
		e.complainJSON(struct {
			Error string `json:"error"`
			Code  int    `json:"code"`
		}{text, code})
		return code
	}
	fmt.Fprintf(e.stderr, "platter: %s\n", strings.ReplaceAll(printable(text), "\n", "\n  "))
	return code
}

// wantsJSON reports whether --json is among the arguments. It looks by itself because cli may be what failed.
func wantsJSON(args []string) bool {
	for _, arg := range args {
		switch arg {
		case "--":
			return false
		case "--json", "-json", "--json=true":
			return true
		}
	}
	return false
}
