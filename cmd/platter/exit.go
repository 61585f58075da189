package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

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
	case errors.Is(err, errIncomplete):
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

// grace is how long a command has after a signal. People who press Ctrl-C wait no longer than a second.
const grace = 900 * time.Millisecond

// untilSignal calls run with the context that everything else descends from. SIGINT and SIGTERM end that context, a
// second signal kills the process, and when run does not return in time, untilSignal leaves it behind: the process
// ends next, and whatever hangs there (a dead NAS, as a rule) with it.
func untilSignal(run func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	select {
	case err := <-done:
		return interrupted(ctx, err)
	case <-ctx.Done():
	}
	cause := context.Cause(ctx)
	stop() // gives signals back their default action
	select {
	case err := <-done:
		return interrupted(ctx, err)
	case <-time.After(grace):
		return fmt.Errorf("%w: %w", errInterrupted, cause)
	}
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
	if err == nil {
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
