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
	"platter/snapshot/serve/fuse"
	"platter/snapshot/serve/nbd"
)

var (
	// errIncomplete says that a command did what it could, but not everything that was requested.
	errIncomplete = errors.New("done, but not completely")
	// errInterrupted says that a signal ended the command early.
	errInterrupted = errors.New("interrupted")
)

// exitCode is the one place that turns errors into exit codes. Docs and scripts rely on them: none may change.
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
	case errors.Is(err, repo.ErrInUse), errors.Is(err, fuse.ErrMounted), errors.Is(err, nbd.ErrSocketTaken):
		return 11
	case errors.Is(err, crypt.ErrWrongPassword):
		return 12
	}
	return 1
}

// onlyIncomplete reports whether err says no more than errIncomplete. errors.Is does not help here: it would hide a failure that
// was joined to errIncomplete.
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
		return slices.ContainsFunc(parts, onlyIncomplete) // a class and its details
	}
	return err == errIncomplete
}

// isJoined reports whether errors.Join made an error: its parts are independent. Those of fmt.Errorf describe each other.
func isJoined(err error) bool {
	return reflect.TypeOf(err) == reflect.TypeOf(errors.Join(errIncomplete))
}

// interrupted wraps errInterrupted around an error that a signal caused.
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
		text = errInterrupted.Error() // the details add nothing
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

// wantsJSON reports whether --json is among the arguments. It does not ask cli, whose parsing may have failed.
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
