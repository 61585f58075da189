package restore

import "sync"

// Unfinished is the set of files being written under temporary names. A process that ends before a restore or Export
// returns calls Remove to remove them. The zero value is empty; a nil *Unfinished records nothing. It is safe for
// concurrent use.
type Unfinished struct {
	mu    sync.Mutex
	files map[*newFile]struct{}
	over  bool // Remove was called
}

// add adds a file, and returns false after Remove.
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

// Remove removes the files. After that, a running restore cannot give its file the final name. Remove blocks while the
// file system does not answer.
func (u *Unfinished) Remove() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for f := range u.files {
		_ = f.remove() // the file may already have its name, and there is no caller left to report to
	}
	clear(u.files)
}
