package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// A retryPolicy decides which errors of a file system are transient, and how long to wait for that.
type retryPolicy struct {
	transience func(error) transience                           // classifies the system's errors
	wait       func(ctx context.Context, d time.Duration) error // returns the cause of ctx's end if that comes first
}

// A transience says whether the same call may succeed later, and why.
type transience int

const (
	stays       transience = iota
	interrupted            // by a signal: CIFS and FUSE return it for any call, and os does not retry all calls
	busy                   // another process has the file open: on Windows virus scanners and indexers open new files
)

const (
	maxInterrupts = 1000 // in a row, for one call; beyond that, the file system returns nothing else
	firstWait     = 5 * time.Millisecond
	longestWait   = 500 * time.Millisecond
	longestBusy   = 4 * time.Second // total wait of one call
)

// defaultRetryPolicy returns the policy for the system that this program runs on.
func defaultRetryPolicy() retryPolicy { return retryPolicy{transience: transienceHere, wait: waitFor} }

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

// do repeats call until it succeeds, its error is not transient, or ctx ends. wasInterrupted reports that an earlier
// attempt may have done the work despite its error.
func (p retryPolicy) do(ctx context.Context, call func() error) (wasInterrupted bool, err error) {
	interrupts, waited, next := 0, time.Duration(0), firstWait
	for {
		err = call()
		if err == nil || ctx.Err() != nil {
			return interrupts > 0, err
		}
		switch p.transience(err) {
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

// busyOnWindows reports whether a Windows error number says that another process has the file open. The same number may
// mean that a permission is missing; then the error only comes some seconds late.
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

// errUnclear says that a call was interrupted, and that the result of the retry may be the call's own work.
var errUnclear = errors.New("interrupted; it may have succeeded")

// untilClear repeats do from its beginning as long as an interruption leaves its outcome unclear.
func untilClear(do func() error) (err error) {
	for range 5 {
		if err = do(); !errors.Is(err, errUnclear) {
			break
		}
	}
	return err
}

// retrying is a FileSystem that retries calls after an interruption, or while another process has the file open. It
// ignores errors of syncs that the file system does not support.
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

// Create wraps errUnclear if the file exists. Only an interrupted attempt of this call can have created it: no other
// process uses its random name.
func (p retrying) Create(name string) (File, error) {
	var f File
	_, err := p.do(p.ctx, func() (err error) {
		f, err = p.FileSystem.Create(name)
		return err
	})
	if err != nil {
		if errors.Is(err, fs.ErrExist) { // os retries by itself, so the interruption is not visible here
			err = fmt.Errorf("%w: %w", errUnclear, err)
		}
		return nil, err
	}
	return &retryingFile{File: f, p: p}, nil
}

// Rename wraps errUnclear and fs.ErrNotExist if an interrupted attempt may have renamed the file.
func (p retrying) Rename(from, to string) error {
	again, err := p.do(p.ctx, func() error { return p.FileSystem.Rename(from, to) })
	if again && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	return err
}

// Link only needs retries: if the name exists, FileSystem.Link checks whether it is the same file.
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

// synced ignores the error of a sync that the file system does not support: refusing such a file system would gain
// nothing.
func (p retrying) synced(err error) error {
	if err != nil && lacksSync(err) {
		p.unsynced(err)
		return nil
	}
	return err
}

// lacksSync reports whether an error says that the file system does not support the sync. Any other sync error, above
// all EIO, is a real one.
func lacksSync(err error) bool {
	var at *fs.PathError
	return errors.As(err, &at) && at.Op == "sync" && noSuchSync(at.Err)
}

// retryingFile is a file open for writing.
type retryingFile struct {
	File
	p       retrying
	durable bool // the last sync succeeded
}

func (f *retryingFile) Write(b []byte) (n int, err error) {
	_, err = f.p.do(f.p.ctx, func() error {
		m, err := f.File.Write(b[n:])
		n += m
		return err
	})
	return n, err
}

// Sync retries after an interruption, which loses nothing. It must not retry after any other error.
func (f *retryingFile) Sync() error {
	var err error
	for range maxInterrupts {
		if err = f.File.Sync(); err == nil || f.p.transience(err) != interrupted {
			break
		}
	}
	f.durable = err == nil
	return f.p.synced(err)
}

// Close does not retry, because the file may be closed despite the error. Synced data is durable.
func (f *retryingFile) Close() error {
	err := f.File.Close()
	if err != nil && f.p.transience(err) == interrupted {
		if f.durable {
			return nil
		}
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	return err
}

// retryingReader is a file open for reading.
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
