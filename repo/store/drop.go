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
