package store

// A Dropper is a store that reads by way of a cache of this machine's system, and can have that forget a file.
type Dropper interface {
	// Drop has the next read of a file come from where it is kept, as far as the system does that.
	Drop(name string)
}

// Drop has the next read of a file come from where it is kept, where s can tell that from what this machine remembers: what was
// read wrongly once would be read wrongly again.
func Drop(s Store, name string) {
	if s, ok := As[Dropper](s); ok {
		s.Drop(name)
	}
}

var _ Dropper = (*Local)(nil)

// Drop has the system forget the pages of a file.
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
