package main

import (
	"context"
	"os"
	"time"

	"golang.org/x/term"

	"platter/repo/store"
	"platter/snapshot/image"
	"platter/snapshot/restore"
)

// An env is the outside world as commands see it. Nothing in it changes while a command runs, but what is to be done in
// the end.
type env struct {
	stdin    *os.File
	noStdin  bool // it was closed when the program began
	stdout   *output
	stderr   *screen
	getenv   func(string) string
	now      func() time.Time
	hostname func() (string, error)
	cacheDir func() (string, error)                                   // where programs of this user keep what can be had again
	ask      func(ctx context.Context, prompt string) ([]byte, error) // errNoTerminal where there is nobody to ask
	confirm  func(ctx context.Context, prompt string) ([]byte, error) // the same, and what is typed is shown
	devices  image.System

	farewell   farewell
	unfinished restore.Unfinished
	openFolder func(folder string) store.Store // the store in a folder
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

// end does what is left to do when a command has ended, or was left behind by a signal.
func (e *env) end(err error) error {
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		e.unfinished.Remove()
	}()
	select {
	case <-swept:
	case <-time.After(grace): // the target hangs, too
	}
	return e.farewell.run(err, func() {})
}
