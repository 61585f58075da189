package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// grace is how long a command has after a signal. People who press Ctrl-C wait no longer than a second.
const grace = 900 * time.Millisecond

// untilSignal calls run with the context that everything else descends from, and then last with what run returned. A
// signal that asks a process to end ends that context. When run does not return in time, untilSignal leaves it behind: the process
// ends next, and whatever hangs there (a dead NAS, as a rule) with it. last is never left behind.
//
// A second signal kills the process, but for a hang-up: a terminal that is closed sends it, then the shell, then whoever
// ends the session sends SIGTERM, and all of them mean the first one.
func untilSignal(run func(context.Context) error, last func(error) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	come := make(chan os.Signal, 1)
	signal.Notify(come, endingSignals()...)
	defer signal.Stop(come)
	outliveFailedWrites()
	watched := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case sig := <-come:
				if sig != syscall.SIGHUP {
					signal.Reset(fatalSignals()...) // the next one kills
				}
				cancel(fmt.Errorf("%v signal received", sig))
			case <-over:
				return
			}
		}
	}()
	err := last(untilDone(ctx, run))
	close(over)
	<-watched
	return err
}

// outliveFailedWrites has a write to a pipe that nobody reads fail, where it would kill the process: a backup does not end
// because nobody listens to what it says. The signals are not ignored, as children would inherit that.
func outliveFailedWrites() { signal.Notify(make(chan os.Signal, 1), failedWriteSignals()...) }

// untilDone returns what run returns, or errInterrupted where that takes longer than grace after the end of ctx.
func untilDone(ctx context.Context, run func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	select {
	case err := <-done:
		return interrupted(ctx, err)
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return interrupted(ctx, err)
	case <-time.After(grace):
		return fmt.Errorf("%w: %w", errInterrupted, context.Cause(ctx))
	}
}

// endingSignals are those that ask a process to end. A hang-up that was ignored when the process began stays ignored: that
// is what nohup does.
func endingSignals() []os.Signal {
	signals := fatalSignals()
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
