package store

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// A Warner is a store that may give warnings that are not the error of any call.
type Warner interface {
	// Warn sets the function that is called once for each kind of warning. Call it before the store is used.
	Warn(report func(text string))
}

var _ Warner = (*Local)(nil)

// A notice is a warning that is reported once.
type notice struct {
	once   sync.Once
	report func(string) // may be nil
}

// Warn sets the function that is called once if the file system does not support the syncs that Put needs.
func (l *Local) Warn(report func(text string)) { l.unsynced.report = report }

func (l *Local) lacksSync(err error) {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	l.unsynced.once.Do(func() {
		if l.unsynced.report != nil {
			l.unsynced.report(fmt.Sprintf("the file system does not support fsync (%v): what is written may be lost if its machine "+
				"loses power soon after; run 'platter check' after such an outage", err))
		}
	})
}
