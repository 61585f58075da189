package storetest

import (
	"context"
	"iter"
	"strings"
	"sync/atomic"

	"platter/repo/store"
)

// Faulty is a store whose calls can fail on demand. An op is "put", "create", "get", "list", "delete", "move" or
// "touch". A name is the call's name, for a move the first one. The functions may be called from many goroutines at
// once; set them before use.
//
// To fail operation i, for every i, until none fails:
//
//	for i := int64(0); ; i++ {
//		s := &storetest.Faulty{Store: new(store.Mem), Fail: storetest.Nth(i, err)}
//		… use s …
//		if s.Ops() <= i { break }
//	}
type Faulty struct {
	store.Store
	Fail func(op, name string) error // an error is the call's, which then does nothing; nil: no call fails
	Lose func(op, name string) error // an error is the call's, although the store did it: a lost answer
	// Short makes a get return half of its bytes and no error, as if the file had been cut short meanwhile.
	Short func(op, name string) bool
	// Got receives what a get read, and may change the bytes. An error is the call's.
	Got func(ctx context.Context, name string, off int64, data []byte) error
	// Hidden reports which files no listing shows.
	Hidden func(name string) bool

	ops  atomic.Int64
	read atomic.Int64 // bytes
}

var (
	_ store.Store  = (*Faulty)(nil)
	_ store.Filler = (*Faulty)(nil)
)

// Nth returns a Fail or Lose that returns err only for the call after the first n.
func Nth(n int64, err error) func(op, name string) error {
	var calls atomic.Int64
	return func(string, string) error {
		if calls.Add(1) == n+1 {
			return err
		}
		return nil
	}
}

// After returns a Fail that returns err for every call after the first n: a crash, or a NAS that disappeared.
func After(n int64, err error) func(op, name string) error {
	var calls atomic.Int64
	return func(string, string) error {
		if calls.Add(1) > n {
			return err
		}
		return nil
	}
}

// In returns a Got that calls got for files in a folder only.
func In(dir string, got func(ctx context.Context, name string, off int64, data []byte) error) func(context.Context, string, int64, []byte) error {
	return func(ctx context.Context, name string, off int64, data []byte) error {
		if !strings.HasPrefix(name, dir+"/") {
			return nil
		}
		return got(ctx, name, off, data)
	}
}

// Watch returns a store that calls before ahead of each call that lists or changes files.
func Watch(s store.Store, before func(op, name string)) *Faulty {
	return &Faulty{Store: s, Fail: func(op, name string) error {
		if op != "get" {
			before(op, name)
		}
		return nil
	}}
}

// Ops returns the number of calls, including those that failed.
func (f *Faulty) Ops() int64 { return f.ops.Load() }

// BytesRead returns the number of bytes that gets read.
func (f *Faulty) BytesRead() int64 { return f.read.Load() }

func (f *Faulty) Put(ctx context.Context, name string, data []byte) error {
	return f.around("put", name, func() error { return f.Store.Put(ctx, name, data) })
}

func (f *Faulty) Create(ctx context.Context, name string, data []byte) error {
	return f.around("create", name, func() error { return f.Store.Create(ctx, name, data) })
}

func (f *Faulty) Get(ctx context.Context, name string, off, n int64) (data []byte, err error) {
	err = f.around("get", name, func() (err error) {
		data, err = f.Store.Get(ctx, name, off, n)
		if f.Short != nil && f.Short("get", name) {
			data = data[:len(data)/2]
		}
		return f.got(ctx, name, off, data, err)
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// List counts as one call when the caller ranges over it. A lost listing yields everything, then its error.
func (f *Faulty) List(ctx context.Context, dir string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		ended := false
		err := f.around("list", dir, func() error {
			for info, err := range f.Store.List(ctx, dir) {
				if err == nil && f.Hidden != nil && f.Hidden(info.Name) {
					continue
				}
				if ended = !yield(info, err) || err != nil; ended {
					break
				}
			}
			return nil
		})
		if err != nil && !ended {
			yield(store.Info{}, err)
		}
	}
}

func (f *Faulty) Delete(ctx context.Context, name string) error {
	return f.around("delete", name, func() error { return f.Store.Delete(ctx, name) })
}

func (f *Faulty) Move(ctx context.Context, from, to string) error {
	return f.around("move", from, func() error { return f.Store.Move(ctx, from, to) })
}

func (f *Faulty) Touch(ctx context.Context, name string) error {
	return f.around("touch", name, func() error { return f.Store.Touch(ctx, name) })
}

// GetInto counts and fails as a get: without it, reads into the caller's memory would bypass Fail.
func (f *Faulty) GetInto(ctx context.Context, dst []byte, name string, off int64) (n int, err error) {
	err = f.around("get", name, func() error {
		data, err := store.GetInto(ctx, f.Store, dst, name, off, int64(len(dst)))
		if n = copy(dst, data); f.Short != nil && f.Short("get", name) {
			n /= 2
		}
		return f.got(ctx, name, off, dst[:n], err)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (f *Faulty) got(ctx context.Context, name string, off int64, data []byte, err error) error {
	f.read.Add(int64(len(data)))
	if err != nil || f.Got == nil {
		return err
	}
	return f.Got(ctx, name, off, data)
}

// Unwrap returns the wrapped store. Calls of its capabilities, except Filler, neither count nor fail.
func (f *Faulty) Unwrap() store.Store { return f.Store }

func (f *Faulty) around(op, name string, do func() error) error {
	f.ops.Add(1)
	if f.Fail != nil {
		if err := f.Fail(op, name); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if f.Lose != nil {
		return f.Lose(op, name)
	}
	return nil
}
