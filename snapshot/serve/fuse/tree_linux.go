package fuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// lasting is how long the kernel may rely on what never changes.
	lasting = time.Hour
	// defaultRefresh is how long the kernel, and a folder, rely on a list of disks or versions.
	defaultRefresh = time.Second
)

// A tree is what all nodes of a mounted folder share.
type tree struct {
	catalog Catalog
	opts    Options
	owner   fuse.Owner
	since   time.Time       // when it was mounted
	ctx     context.Context // ends when the server is closed, and with it every call
	fd      int             // of the connection to the kernel

	mu     sync.Mutex
	inodes map[string]uint64   // inode numbers by identity, so that a number never means something else
	opened map[*file]io.Closer // disks that are open and want to be closed
}

// A node is a folder, file or link.
type node interface {
	fs.InodeEmbedder
	// attributes sets everything but the kind and the inode number.
	attributes(ctx context.Context, out *fuse.Attr)
	// stays is how long attributes stay as they are.
	stays() time.Duration
}

// inode returns the inode number of what key identifies.
func (t *tree) inode(key string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	ino, ok := t.inodes[key]
	if !ok {
		ino = uint64(len(t.inodes)) + fuse.FUSE_ROOT_ID + 1
		t.inodes[key] = ino
	}
	return ino
}

// fill sets what the attributes of all nodes have in common. permissions are the owner's.
func (t *tree) fill(out *fuse.Attr, at time.Time, permissions uint32) {
	if t.opts.AllowOther {
		readable := permissions & 0o500
		permissions |= readable>>3 | readable>>6
	}
	out.Mode, out.Nlink, out.Owner = permissions, 1, t.owner
	fillTimes(out, at)
}

func fillTimes(out *fuse.Attr, at time.Time) {
	if at.Unix() < 0 { // not known
		at = time.Unix(0, 0)
	}
	out.SetTimes(&at, &at, &at)
}

// failed reports an error and returns what the program that asked sees of it.
func (t *tree) failed(ctx context.Context, n *fs.Inode, err error) syscall.Errno {
	if ctx.Err() != nil {
		return syscall.EINTR // the program is being killed; the disk did not fail
	}
	t.report(path.Join(".", n.Path(n.Root())), err)
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, errno) {
			return errno
		}
	}
	return syscall.EIO
}

func (t *tree) report(name string, err error) {
	if t.opts.Report != nil {
		t.opts.Report(name, err)
	}
}

// panicked keeps a fault in one request from ending all others.
func (t *tree) panicked(fault any) fuse.Status {
	t.report("a request", fmt.Errorf("panic: %v\n%s", fault, debug.Stack()))
	return fuse.EIO
}

// closeAll closes the disks that are open still. The kernel has released all of them, unless the connection was cut.
func (t *tree) closeAll() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []error
	for _, disk := range t.opened {
		all = append(all, disk.Close())
	}
	clear(t.opened)
	return errors.Join(all...)
}
