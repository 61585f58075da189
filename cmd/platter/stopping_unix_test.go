//go:build unix

package main

import (
	"context"
	"iter"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"platter/repo/store"
)

const (
	// stopAt names the environment variable that says before which operation of its store "stopping" stops, counted from 1.
	stopAt = "STOP_AT"
	// hangsBy names the one of a file that "stopping" makes and then hangs, as on a dead NAS, where it would stop.
	hangsBy = "HANGS_BY"
)

// stopping is platter, which stops (SIGSTOP) right before one operation of its store and continues on request.
func stopping() {
	nth, err := strconv.ParseInt(os.Getenv(stopAt), 10, 64)
	if err != nil {
		panic(err)
	}
	env := newEnv()
	env.openFolder = func(folder string) (store.Store, error) {
		s, err := localStore(folder)
		return &stopper{store: s, nth: nth}, err
	}
	os.Exit(runProgram(env, os.Args))
}

// A stopper stops its own process right before an operation.
type stopper struct {
	store store.Store
	nth   int64
	ops   atomic.Int64
}

var _ store.Store = (*stopper)(nil)

func (s *stopper) operation() {
	if s.ops.Add(1) != s.nth {
		return
	}
	if name := os.Getenv(hangsBy); name != "" {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			panic(err)
		}
		select {}
	} else {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGSTOP); err != nil {
			panic(err)
		}
	}
}

func (s *stopper) Close() error { return s.store.Close() }

func (s *stopper) Put(ctx context.Context, name string, data []byte) error {
	s.operation()
	return s.store.Put(ctx, name, data)
}

func (s *stopper) Create(ctx context.Context, name string, data []byte) error {
	s.operation()
	return s.store.Create(ctx, name, data)
}

func (s *stopper) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	s.operation()
	return s.store.Get(ctx, name, off, n)
}

func (s *stopper) List(ctx context.Context, dir string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		s.operation()
		s.store.List(ctx, dir)(yield)
	}
}

func (s *stopper) Delete(ctx context.Context, name string) error {
	s.operation()
	return s.store.Delete(ctx, name)
}

func (s *stopper) Move(ctx context.Context, from, to string) error {
	s.operation()
	return s.store.Move(ctx, from, to)
}

func (s *stopper) Touch(ctx context.Context, name string) error {
	s.operation()
	return s.store.Touch(ctx, name)
}
