package restore

import "sync"

// Unfinished are files that are being written under temporary names. A process that ends while Restore or Export have not
// returned removes them with Remove. The zero value holds none, and a nil *Unfinished keeps no account. It is safe for concurrent use.
type Unfinished struct {
	mu    sync.Mutex
	files map[*newFile]struct{}
	over  bool // Remove was called
}

// add takes in a file, unless it is too late for one.
func (u *Unfinished) add(f *newFile) bool {
	if u == nil {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.files == nil {
		u.files = map[*newFile]struct{}{}
	}
	if !u.over {
		u.files[f] = struct{}{}
	}
	return !u.over
}

func (u *Unfinished) done(f *newFile) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.files, f)
}

// Remove removes the files. Whoever goes on writing to one cannot give it its name any more. A file system that does not
// answer makes it wait.
func (u *Unfinished) Remove() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for f := range u.files {
		_ = f.remove() // it may have its name by now, and there is nobody left to be told of more
	}
	clear(u.files)
}
