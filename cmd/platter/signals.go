package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// grace is how long a command may run after a signal. After Ctrl-C, people wait no longer than a second.
const grace = 900 * time.Millisecond

// untilSignal calls run with the root context, and then last with what run returned. A signal that asks a process to end cancels
// the context. If run does not return in time, untilSignal abandons it: the process ends next, and with it whatever hangs, usually
// on a dead NAS. last is never abandoned. While patient is true, run gets all the time that it takes.
//
// A second signal kills the process, except for a hang-up: a terminal that closes sends it, then the shell does, then the end of
// the session sends SIGTERM, and all of them mean the first one.
func untilSignal(run func(context.Context) error, patient *atomic.Bool, last func(error) error) error {
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
	err := last(untilDone(ctx, run, patient))
	close(over)
	<-watched
	return err
}

// outliveFailedWrites makes a write to a pipe without a reader fail, instead of killing the process: a backup must not end because
// its messages are not read. The signals are caught and not ignored, because children would inherit that.
func outliveFailedWrites() { signal.Notify(make(chan os.Signal, 1), failedWriteSignals()...) }

// untilDone returns what run returns, or errInterrupted if that takes longer than grace after the end of ctx and patient is false.
func untilDone(ctx context.Context, run func(context.Context) error, patient *atomic.Bool) error {
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	select {
	case err := <-done:
		return interrupted(ctx, err)
	case <-ctx.Done():
	}
	for {
		select {
		case err := <-done:
			return interrupted(ctx, err)
		case <-time.After(grace):
		}
		if !patient.Load() {
			return fmt.Errorf("%w: %w", errInterrupted, context.Cause(ctx))
		}
	}
}

// endingSignals ask a process to end. A hang-up that was ignored at the start stays ignored, for nohup.
func endingSignals() []os.Signal {
	signals := fatalSignals()
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
