package backup

import "sync"

// A fault says that a region could not be read, and at which byte.
type fault struct {
	region int64
	err    error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// A firstFault remembers the first of the faults that several workers meet: first on the disk, not in time. Regions are
// handed out in order. So a worker on a region before a fault finishes it, and only workers after the fault stop.
type firstFault struct {
	found func() // called at each fault

	mu    sync.Mutex
	first *fault // nil if there is none
}

func (f *firstFault) add(other *fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == nil || other.region < f.first.region {
		f.first = other
	}
	f.found()
}

// before returns the first fault so far if it is before a region, otherwise nil.
func (f *firstFault) before(region int64) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == nil || f.first.region >= region {
		return nil
	}
	return f.first
}

func (f *firstFault) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == nil {
		return nil
	}
	return f.first.err
}
