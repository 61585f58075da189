package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// A retryPolicy decides which errors of a file system pass by themselves, and waits for that.
type retryPolicy struct {
	passing func(error) passing                              // what the system's errors mean
	wait    func(ctx context.Context, d time.Duration) error // returns the cause of ctx's end if that comes first
}

// A passing error is one that the same call may not meet again.
type passing int

const (
	stays       passing = iota
	interrupted         // by a signal: CIFS and FUSE say so of any call, and os does not retry all of them
	busy                // another process has the file open: on Windows a virus scanner or an indexer looks at what is new
)

const (
	maxInterrupts = 1000 // in a row, of one call; more is a file system that says nothing else
	firstWait     = 5 * time.Millisecond
	longestWait   = 500 * time.Millisecond
	longestBusy   = 4 * time.Second // which one call waits in all
)

// defaultRetryPolicy is that of the system this program runs on.
func defaultRetryPolicy() retryPolicy { return retryPolicy{passing: passingHere, wait: waitFor} }

func waitFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// do calls something until it succeeds, its error stays, or ctx ends. wasInterrupted reports that an earlier call may
// have done the work despite its error.
func (p retryPolicy) do(ctx context.Context, call func() error) (wasInterrupted bool, err error) {
	interrupts, waited, next := 0, time.Duration(0), firstWait
	for {
		err = call()
		if err == nil || ctx.Err() != nil {
			return interrupts > 0, err
		}
		switch p.passing(err) {
		case interrupted:
			if interrupts++; interrupts > maxInterrupts {
				return true, err
			}
		case busy:
			if waited >= longestBusy {
				return interrupts > 0, err
			}
			if p.wait(ctx, next) != nil {
				return interrupts > 0, err
			}
			waited, next = waited+next, min(2*next, longestWait)
		default:
			return interrupts > 0, err
		}
	}
}

// busyOnWindows reports whether an error number of Windows says that another process has the file open. Access is also denied
// for good where there is no right to it; then the error comes some seconds late.
func busyOnWindows(code syscall.Errno) bool {
	switch code {
	case 5, // ERROR_ACCESS_DENIED: also of a name whose last handle is not closed yet
		32,   // ERROR_SHARING_VIOLATION
		33,   // ERROR_LOCK_VIOLATION
		170,  // ERROR_BUSY
		303,  // ERROR_DELETE_PENDING
		1224: // ERROR_USER_MAPPED_FILE
		return true
	}
	return false
}

// errUnclear says that a call was interrupted, and that what its repetition found may be its own work.
var errUnclear = errors.New("interrupted, and perhaps done all the same")

// untilClear repeats do, from its beginning, while an interruption leaves open what was done.
func untilClear(do func() error) (err error) {
	for range 5 {
		if err = do(); !errors.Is(err, errUnclear) {
			break
		}
	}
	return err
}

// retrying is a FileSystem that retries calls that failed by an interruption or because another process has the file open. It
// forgives the syncs that the file system does not support.
type retrying struct {
	FileSystem
	ctx context.Context // of the one call of Local that it serves
	retryPolicy
	unsynced func(error) // called for each sync that the file system does not support
}

var _ FileSystem = retrying{}

func (p retrying) Mkdir(dir string) error {
	_, err := p.do(p.ctx, func() error { return p.FileSystem.Mkdir(dir) })
	return err
}

// Create wraps errUnclear where the file is there because an interrupted call made it: no other process uses its random name.
func (p retrying) Create(name string) (File, error) {
	var f File
	_, err := p.do(p.ctx, func() (err error) {
		f, err = p.FileSystem.Create(name)
		return err
	})
	if err != nil {
		if errors.Is(err, fs.ErrExist) { // os retries by itself, so it cannot be seen that it was interrupted
			err = fmt.Errorf("%w: %w", errUnclear, err)
		}
		return nil, err
	}
	return &retryingFile{File: f, p: p}, nil
}

// Rename wraps errUnclear beside fs.ErrNotExist where an interrupted call may have given the file its new name.
func (p retrying) Rename(from, to string) error {
	again, err := p.do(p.ctx, func() error { return p.FileSystem.Rename(from, to) })
	if again && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	return err
}

// Link needs no more than another call: where the name is there, FileSystem looks whether it is the same file.
func (p retrying) Link(from, to string) error {
	_, err := p.do(p.ctx, func() error { return p.FileSystem.Link(from, to) })
	return err
}

func (p retrying) Touch(name string) error {
	_, err := p.do(p.ctx, func() error { return p.FileSystem.Touch(name) })
	return p.synced(err)
}

func (p retrying) Remove(name string) error {
	_, err := p.do(p.ctx, func() error { return p.FileSystem.Remove(name) })
	return err
}

func (p retrying) SyncFolder(dir string) error {
	_, err := p.do(p.ctx, func() error { return p.FileSystem.SyncFolder(dir) })
	return p.synced(err)
}

func (p retrying) Open(name string) (OpenFile, int64, error) {
	var f OpenFile
	var size int64
	_, err := p.do(p.ctx, func() (err error) {
		f, size, err = p.FileSystem.Open(name)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return retryingReader{f, p}, size, nil
}

// synced forgives a sync that the file system does not support: to refuse such a file system would gain nothing.
func (p retrying) synced(err error) error {
	if err != nil && lacksSync(err) {
		p.unsynced(err)
		return nil
	}
	return err
}

// lacksSync reports whether an error says of a sync that the file system does not have it. Any other error of a sync, EIO
// above all, is one.
func lacksSync(err error) bool {
	var at *fs.PathError
	return errors.As(err, &at) && at.Op == "sync" && noSuchSync(at.Err)
}

// retryingFile is a file that is being written.
type retryingFile struct {
	File
	p       retrying
	durable bool // the last sync was one
}

func (f *retryingFile) Write(b []byte) (n int, err error) {
	_, err = f.p.do(f.p.ctx, func() error {
		m, err := f.File.Write(b[n:])
		n += m
		return err
	})
	return n, err
}

// Sync retries after an interruption, which loses nothing. After any other error it must not be tried again.
func (f *retryingFile) Sync() error {
	var err error
	for range maxInterrupts {
		if err = f.File.Sync(); err == nil || f.p.passing(err) != interrupted {
			break
		}
	}
	f.durable = err == nil
	return f.p.synced(err)
}

// Close is not tried again, because the file may be closed despite the error. What was synced is durable.
func (f *retryingFile) Close() error {
	err := f.File.Close()
	if err != nil && f.p.passing(err) == interrupted {
		if f.durable {
			return nil
		}
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	return err
}

// retryingReader is a file that is being read.
type retryingReader struct {
	OpenFile
	p retrying
}

func (r retryingReader) ReadAt(b []byte, off int64) (n int, err error) {
	_, err = r.p.do(r.p.ctx, func() error {
		m, err := r.OpenFile.ReadAt(b[n:], off+int64(n))
		n += m
		return err
	})
	return n, err
}
