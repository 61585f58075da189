package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// forgetful is a file system in memory that knows what a power cut would leave: of a folder the entries it had when it
// was last synced, of a file the bytes it had when it was last synced.
type forgetful struct {
	now   map[string]*inode // by name; "." is the root
	kept  map[string]*inode // entries that are on the disk
	calls []string
	fail  func(call int) error // asked before each
}

type inode struct {
	fs          *forgetful
	dir         bool
	data        []byte
	kept        []byte // bytes that are on the disk
	failedSyncs int
}

var _ fileSystem = (*forgetful)(nil)

// newForgetful is an empty disk with a root.
func newForgetful() *forgetful {
	d := &forgetful{fail: func(int) error { return nil }}
	root := &inode{fs: d, dir: true}
	d.now = map[string]*inode{".": root}
	d.kept = map[string]*inode{".": root}
	return d
}

func (d *forgetful) call(format string, args ...any) error {
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
	return d.fail(len(d.calls) - 1)
}

func (d *forgetful) mkdir(dir string) error {
	if err := d.call("mkdir %s", dir); err != nil {
		return err
	}
	if d.now[dir] != nil {
		return fs.ErrExist
	}
	if d.now[path.Dir(dir)] == nil {
		return fs.ErrNotExist
	}
	d.now[dir] = &inode{fs: d, dir: true}
	return nil
}

func (d *forgetful) create(name string) (file, error) {
	if err := d.call("create"); err != nil {
		return nil, err
	}
	if d.now[path.Dir(name)] == nil {
		return nil, fs.ErrNotExist
	}
	if d.now[name] != nil {
		return nil, fs.ErrExist
	}
	d.now[name] = &inode{fs: d}
	return d.now[name], nil
}

func (d *forgetful) rename(from, to string) error {
	if err := d.call("rename"); err != nil {
		return err
	}
	if path.Dir(from) != path.Dir(to) {
		return errors.New("a rename between folders needs both synced")
	}
	d.now[to] = d.now[from]
	delete(d.now, from)
	return nil
}

func (d *forgetful) touch(name string) error {
	if err := d.call("touch"); err != nil {
		return err
	}
	if d.now[name] == nil {
		return fs.ErrNotExist
	}
	return nil
}

func (d *forgetful) remove(name string) error {
	if err := d.call("remove"); err != nil {
		return err
	}
	if d.now[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.now, name)
	return nil
}

func (d *forgetful) syncFolder(dir string) error {
	if err := d.call("sync folder %s", dir); err != nil {
		return err
	}
	for name := range d.kept {
		if path.Dir(name) == dir && name != "." {
			delete(d.kept, name)
		}
	}
	for name, node := range d.now {
		if path.Dir(name) == dir {
			d.kept[name] = node
		}
	}
	return nil
}

func (n *inode) Write(p []byte) (int, error) {
	if err := n.fs.call("write %d", len(p)); err != nil {
		return 0, err
	}
	n.data = append(n.data, p...)
	return len(p), nil
}

func (n *inode) Sync() error {
	if err := n.fs.call("sync"); err != nil {
		n.failedSyncs++
		return err
	}
	if n.failedSyncs > 0 {
		return nil // the lie that a second fsync tells
	}
	n.kept = bytes.Clone(n.data)
	return nil
}

func (n *inode) Close() error { return n.fs.call("close") }

// afterPowerCut is what name holds when everything that was not synced is lost.
func (d *forgetful) afterPowerCut(name string) (data []byte, found bool) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if d.kept[dir] == nil {
			return nil, false
		}
	}
	if d.kept[name] == nil {
		return nil, false
	}
	return d.kept[name].kept, true
}

// afterHalfAPowerCut is the same when the disk had written the names, but not the data: it may write in any order.
func (d *forgetful) afterHalfAPowerCut(name string) (data []byte, found bool) {
	if d.now[name] == nil {
		return nil, false
	}
	return d.now[name].kept, true
}

func (d *forgetful) temps() (names []string) {
	for name := range d.now {
		if strings.HasPrefix(path.Base(name), tempPrefix) {
			names = append(names, name)
		}
	}
	return names
}
