package store

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// A Warner is a store that may have something to say which is no error of any call.
type Warner interface {
	// Warn has tell called with it, once for each thing there is to say. It must come before the store is used.
	Warn(tell func(text string))
}

var _ Warner = (*Local)(nil)

// A notice is said once.
type notice struct {
	once sync.Once
	tell func(string) // nil for nobody
}

// Warn has tell called once where the file system does not have the syncs that a Put asks for.
func (l *Local) Warn(tell func(text string)) { l.unsynced.tell = tell }

func (l *Local) lacksSync(err error) {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	l.unsynced.once.Do(func() {
		if l.unsynced.tell != nil {
			l.unsynced.tell(fmt.Sprintf("the file system does not support fsync (%v): what is written may be lost when the machine it "+
				"lies on loses power soon after; run 'platter check' after such an outage", err))
		}
	})
}
