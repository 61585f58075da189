package main

import (
	"errors"
	"io"
	"sync"
)

// opened are the stores and repositories that a command opened, which are closed when it ends. A repository is closed before
// the store that it was opened on.
type opened struct {
	mu  sync.Mutex
	all []io.Closer
}

func (o *opened) add(c io.Closer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, c)
}

// close closes the last one first.
func (o *opened) close() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.all) > 0 {
		last := len(o.all) - 1
		err = errors.Join(err, o.all[last].Close())
		o.all = o.all[:last]
	}
	return err
}
