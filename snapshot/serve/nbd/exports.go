package nbd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// openExports shares each open export among its connections, and closes it after the last.
type openExports struct {
	ctx     context.Context // of the server: an export outlives the connection that opened it
	exports Exports
	failed  func(export string, err error)

	mu     sync.Mutex
	byName map[string]*openExport
	err    error // the first of syncing or closing an export
}

// An openExport is an export and how many connections use it.
type openExport struct {
	*Export
	name  string // that it was opened by
	ready chan struct{}
	err   error // of opening it; written before ready is closed
	gone  chan struct{}
	users int // guarded by mu of openExports; 0 once it is being closed
}

func newOpenExports(ctx context.Context, exports Exports, failed func(string, error)) *openExports {
	return &openExports{ctx: ctx, exports: exports, failed: failed, byName: make(map[string]*openExport)}
}

// acquire opens an export or finds it open. The caller releases it.
func (t *openExports) acquire(name string) (*openExport, error) {
	for {
		e, state := t.enter(name)
		switch state {
		case entered:
			<-e.ready // the goroutine that opens it ends with the server
		case closing: // it must be closed before it is opened again
			<-e.gone
			continue
		case first:
			e.Export, e.err = t.open(name)
			close(e.ready)
		}
		if e.err != nil {
			t.release(e)
			return nil, e.err
		}
		return e, nil
	}
}

// What enter found.
const (
	first   = iota // nothing: the caller opens the export
	entered        // the export, open or being opened
	closing        // the export, being closed
)

func (t *openExports) enter(name string) (*openExport, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byName[name]
	switch {
	case e == nil:
		e = &openExport{name: name, ready: make(chan struct{}), gone: make(chan struct{}), users: 1}
		t.byName[name] = e
		return e, first
	case e.users == 0:
		return e, closing
	}
	e.users++
	return e, entered
}

func (t *openExports) open(name string) (*Export, error) {
	e, err := t.exports.Open(t.ctx, name)
	switch {
	case err != nil && t.ctx.Err() == nil && !errors.Is(err, fs.ErrNotExist):
		t.failed(name, fmt.Errorf("open: %w", err))
	case err == nil && e.Writable != nil:
		e.Disk = e.Writable
	}
	return e, err
}

// release ends one use of an export. The last one syncs and closes it.
func (t *openExports) release(e *openExport) {
	t.mu.Lock()
	e.users--
	last := e.users == 0
	t.mu.Unlock()
	if !last {
		return
	}
	var err error
	if e.err == nil {
		err = e.close()
	}
	t.mu.Lock()
	delete(t.byName, e.name)
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("export %q: %w", e.name, err)
	}
	t.mu.Unlock()
	close(e.gone)
	if err != nil {
		t.failed(e.name, err)
	}
}

// close syncs and closes the export.
func (e *openExport) close() error {
	var errs [2]error
	if e.Writable != nil {
		if err := e.Writable.Sync(); err != nil {
			errs[0] = fmt.Errorf("sync: %w", err)
		}
	}
	if e.Close != nil {
		if err := e.Close(); err != nil {
			errs[1] = fmt.Errorf("close: %w", err)
		}
	}
	return errors.Join(errs[:]...)
}

// firstErr returns the first error of syncing or closing an export.
func (t *openExports) firstErr() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}
