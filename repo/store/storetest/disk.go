package storetest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"platter/repo/store"
)

// Disk is a disk in memory for store.NewLocalOn. Apart from what programs see, it records what is durable: the synced
// bytes of files, and the synced entries of folders. Lose returns what a power cut can leave of that.
//
// The disk calls Fail before each call that changes something, with its number from 0 and what it does. The error of
// Fail becomes the call's error. A write whose error wraps io.ErrShortWrite writes half; any other failed call does
// nothing. The disk calls Then after each such call, while it is locked. Set both before use.
type Disk struct {
	Fail func(call int, what string) error
	Then func(lose func(Cut) *Disk)

	Clock   func() time.Time // the disk's clock; nil means time.Now; set before use
	NoLinks bool             // the disk has no hard links; set before use

	mu      sync.Mutex
	root    *node
	calls   []string
	renames []rename
}

var _ store.FileSystem = (*Disk)(nil)

// A node is a file or a folder.
type node struct {
	above *node // the folder that holds it
	name  string

	entries map[string][]version // of a folder; nil for a file

	time   time.Time // when the file was written
	data   []byte
	synced []byte   // the durable part of data
	sum    [32]byte // of synced
	failed bool     // a sync failed: the kernel dropped what it could not write, and later syncs report false success
}

// A version is what a name refers to from a call on. The first version of a name is durable, and programs see the last
// one. A power cut may leave any.
type version struct {
	node *node // nil if the name did not exist
	call int   // counted from 1; 0 for what existed before
}

// A rename is a rename whose target is not durable yet. A journal keeps its two halves together. The old name may
// survive beside the new one, but it never disappears before the new one is durable.
type rename struct {
	from, to entry
	call     int
}

// An entry is a name in a folder.
type entry struct {
	dir  *node
	name string
}

// NewDisk returns an empty disk with a root.
func NewDisk() *Disk {
	return &Disk{root: &node{entries: map[string][]version{}}}
}

// Calls returns the calls that changed something or tried to.
func (d *Disk) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

// change counts a call and executes it. It passes to do the error with which the call must fail.
func (d *Disk) change(what string, do func(call int, err error) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, what)
	var err error
	if d.Fail != nil {
		err = d.Fail(len(d.calls)-1, what)
	}
	err = do(len(d.calls), err)
	if d.Then != nil {
		d.Then(d.lose)
	}
	return err
}

func (d *Disk) now() time.Time {
	if d.Clock == nil {
		return time.Now()
	}
	return d.Clock()
}

// unlessTold makes a call that does nothing if it fails.
func unlessTold(do func(call int) error) func(int, error) error {
	return func(call int, err error) error {
		if err != nil {
			return err
		}
		return do(call)
	}
}

// at returns what an entry refers to; nil for nothing.
func (e entry) at() *node {
	if e.dir == nil || len(e.dir.entries[e.name]) == 0 {
		return nil
	}
	history := e.dir.entries[e.name]
	return history[len(history)-1].node
}

// set makes an entry refer to something else from a call on.
func (e entry) set(n *node, call int) {
	history := e.dir.entries[e.name]
	if len(history) == 0 {
		history = []version{{}}
	}
	e.dir.entries[e.name] = append(history, version{n, call})
	if n != nil {
		n.above, n.name = e.dir, e.name
	}
}

// find returns what has this name; nil for nothing.
func (d *Disk) find(name string) *node {
	n := d.root
	for part := range strings.SplitSeq(name, "/") {
		if part != "." && n != nil {
			n = entry{n, part}.at()
		}
	}
	return n
}

// entry returns the entry of a name. The name may be missing, but its folder must exist.
func (d *Disk) entry(name string) (entry, error) {
	dir := d.find(path.Dir(name))
	if dir == nil || dir.entries == nil {
		return entry{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return entry{dir, path.Base(name)}, nil
}

func (d *Disk) Mkdir(dir string) error {
	return d.change("mkdir "+dir, unlessTold(func(call int) error {
		return d.make(dir, &node{entries: map[string][]version{}}, call)
	}))
}

func (d *Disk) Create(name string) (store.File, error) {
	n := &node{sum: blake3.Sum256(nil), time: d.now()}
	err := d.change("create", unlessTold(func(call int) error { return d.make(name, n, call) }))
	if err != nil {
		return nil, err
	}
	return &diskFile{d, n}, nil
}

func (d *Disk) make(name string, n *node, call int) error {
	if d.find(name) != nil {
		return fs.ErrExist
	}
	e, err := d.entry(name)
	if err != nil {
		return err
	}
	e.set(n, call)
	return nil
}

func (d *Disk) Rename(from, to string) error {
	return d.change("rename", unlessTold(func(call int) error {
		old, err := d.entry(from)
		if err != nil {
			return err
		}
		fresh, err := d.entry(to)
		if err != nil {
			return err
		}
		n, over := old.at(), fresh.at()
		switch {
		case n == nil:
			return fs.ErrNotExist
		case over != nil && over.entries != nil:
			return errors.New("a rename over a folder")
		case n == over:
			return nil
		}
		old.set(nil, call)
		fresh.set(n, call)
		d.renames = append(d.renames, rename{old, fresh, call})
		return nil
	}))
}

// Link changes one entry: a power cut leaves the new name or does not.
func (d *Disk) Link(from, to string) error {
	return d.change("link", unlessTold(func(call int) error {
		switch n := d.find(from); {
		case d.NoLinks:
			return errors.ErrUnsupported
		case n == nil:
			return fs.ErrNotExist
		case n.entries != nil:
			return errors.New("it is a folder")
		case d.find(to) == n:
			return nil
		default:
			return d.make(to, n, call)
		}
	}))
}

// Touch needs no model of unsynced bytes: the write does not change the byte.
func (d *Disk) Touch(name string) error {
	return d.change("touch", unlessTold(func(int) error {
		n := d.find(name)
		switch {
		case n == nil:
			return fs.ErrNotExist
		case n.entries != nil:
			return errors.New("it is a folder")
		case len(n.data) == 0:
			return io.EOF
		}
		n.time = d.now()
		return nil
	}))
}

func (d *Disk) Remove(name string) error {
	return d.change("remove", unlessTold(func(call int) error {
		e, err := d.entry(name)
		if err != nil {
			return err
		}
		switch n := e.at(); {
		case n == nil:
			return fs.ErrNotExist
		case n.entries != nil:
			return errors.New("it is a folder")
		}
		e.set(nil, call)
		return nil
	}))
}

func (d *Disk) SyncFolder(dir string) error {
	return d.change("sync folder "+dir, unlessTold(func(int) error {
		n := d.find(dir)
		if n == nil || n.entries == nil {
			return fs.ErrNotExist
		}
		d.syncFolder(n)
		return nil
	}))
}

// diskFile is a file open for writing.
type diskFile struct {
	disk *Disk
	*node
}

func (f *diskFile) Write(p []byte) (n int, err error) {
	err = f.disk.change(fmt.Sprintf("write %d", len(p)), func(_ int, err error) error {
		switch {
		case err == nil:
			n = len(p)
		case errors.Is(err, io.ErrShortWrite):
			n = len(p) / 2
		}
		f.data, f.time = append(f.data, p[:n]...), f.disk.now()
		return err
	})
	return n, err
}

func (f *diskFile) Sync() error {
	return f.disk.change("sync", func(_ int, err error) error {
		if err != nil {
			f.failed = true
		} else if !f.failed {
			f.synced = slices.Clone(f.data)
			f.sum = blake3.Sum256(f.synced)
		}
		return err
	})
}

func (f *diskFile) Close() error {
	return f.disk.change("close", unlessTold(func(int) error { return nil }))
}
