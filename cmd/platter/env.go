package main

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"platter/repo/store"
	"platter/snapshot/image"
	"platter/snapshot/restore"
)

// An env is the outside world as commands see it. While a command runs, only what is left to do at its end changes.
type env struct {
	stdin    *os.File
	noStdin  bool // standard input was closed when the program began
	stdout   *output
	stderr   *screen
	getenv   func(string) string
	now      func() time.Time
	hostname func() (string, error)
	cacheDir func() (string, error)                                   // for caches of this user
	ask      func(ctx context.Context, prompt string) ([]byte, error) // errNoTerminal if there is none
	confirm  func(ctx context.Context, prompt string) ([]byte, error) // the same, and shows what is typed
	devices  image.System

	patient    atomic.Bool // a command is saving what a signal must not lose
	farewell   farewell
	unfinished restore.Unfinished
	openFolder func(folder string) (store.Store, error) // opens the store in a folder
	opened     opened
}

func newEnv() *env {
	return &env{
		stdin:    os.Stdin,
		noStdin:  wasClosed(os.Stdin),
		stdout:   &output{w: os.Stdout, closed: wasClosed(os.Stdout), mute: wasClosed(os.Stderr)},
		stderr:   &screen{w: os.Stderr, isTerminal: term.IsTerminal(int(os.Stderr.Fd())), columns: columnsOf(os.Stderr)},
		getenv:   os.Getenv,
		now:      time.Now,
		hostname: os.Hostname,
		cacheDir: os.UserCacheDir,
		ask:      askTerminal,
		confirm:  confirmTerminal,

		openFolder: localStore,
	}
}

// end cleans up after a command that ended, or that did not end in time after a signal.
func (e *env) end(err error) error {
	swept := make(chan struct{})
	var closed error
	go func() {
		defer close(swept)
		e.unfinished.Remove()
		closed = e.opened.close()
	}()
	select {
	case <-swept:
		if err == nil {
			err = closed
		}
	case <-time.After(grace): // the target hangs too
	}
	return e.farewell.run(err, func() {})
}
