package store

// A Dropper is a store that reads through the operating system's cache, and can drop a file from it.
type Dropper interface {
	// Drop makes the next read of a file come from the medium or the server, as far as the system can.
	Drop(name string)
}

// Drop makes the next read of a file bypass the operating system's caches, if s is a Dropper. Without it, a read that
// returned wrong bytes would return them again from the cache.
func Drop(s Store, name string) {
	if s, ok := As[Dropper](s); ok {
		s.Drop(name)
	}
}

var _ Dropper = (*Local)(nil)

// Drop drops the pages of a file from the page cache.
func (l *Local) Drop(name string) {
	if checkName(name) != nil {
		return
	}
	f, _, err := l.fs.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	if f, ok := f.(interface{ Fd() uintptr }); ok {
		dropPages(f.Fd())
	}
}

// A RangeDropper is a store that keeps parts of files on this machine, and can drop some of them.
type RangeDropper interface {
	// DropRange makes the next read of n bytes of a file at off come from the wrapped store. It returns false if they
	// come from there anyway.
	DropRange(name string, off, n int64) bool
}

// DropRange makes the next read of a range come from beyond all caches of this machine, if s is a RangeDropper. It
// returns true if that read may return other bytes than the last one: bytes that were damaged on their way into a cache
// stay damaged there.
func DropRange(s Store, name string, off, n int64) bool {
	d, ok := As[RangeDropper](s)
	return ok && d.DropRange(name, off, n)
}
