package fuse

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/semaphore"
)

// A folder is the root, a disk or a version.
type folder struct {
	fs.Inode
	tree    *tree
	key     string                                      // identity
	read    func(ctx context.Context) ([]*entry, error) // asks the catalog
	refresh time.Duration                               // how long a list of entries counts
	at      time.Time                                   // the folder's time; zero: that of its newest entry
	leaf    bool                                        // a version, which has no folders

	turn   *semaphore.Weighted // guards what follows; unlike a mutex, it lets a request stop waiting
	listed time.Time           // when the entries were read; zero: never
	list   []*entry
	byName map[string]*entry
}

// An entry is one name in a folder.
type entry struct {
	name string
	key  string // identity, in the whole tree
	kind uint32 // S_IFDIR, S_IFREG or S_IFLNK
	at   time.Time
	make func() node
}

var (
	_ node             = (*folder)(nil)
	_ fs.NodeGetattrer = (*folder)(nil)
	_ fs.NodeSetattrer = (*folder)(nil)
	_ fs.NodeLookuper  = (*folder)(nil)
	_ fs.NodeReaddirer = (*folder)(nil)
	_ fs.NodeStatfser  = (*folder)(nil)
	_ fs.NodeUnlinker  = (*folder)(nil)
	_ fs.NodeRmdirer   = (*folder)(nil)
	_ fs.NodeRenamer   = (*folder)(nil)
)

func (t *tree) folder(key string, at time.Time, refresh time.Duration, read func(ctx context.Context) ([]*entry, error)) *folder {
	return &folder{tree: t, key: key, read: read, refresh: refresh, at: at, turn: semaphore.NewWeighted(1)}
}

// entries returns the folder's entries, from the catalog if the last ones are too old.
func (f *folder) entries(ctx context.Context) ([]*entry, map[string]*entry, error) {
	if err := f.turn.Acquire(ctx, 1); err != nil {
		return nil, nil, err
	}
	defer f.turn.Release(1)
	if f.listed.IsZero() || time.Since(f.listed) >= f.refresh {
		list, err := f.read(ctx)
		if err != nil {
			return nil, nil, err
		}
		f.listed, f.list, f.byName = time.Now(), list, make(map[string]*entry, len(list))
		for _, e := range list {
			f.byName[e.name] = e
		}
	}
	return f.list, f.byName, nil
}

// Lookup finds a name in the folder.
func (f *folder) Lookup(request context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	ctx, done := f.tree.call(request)
	defer done()
	_, byName, err := f.entries(ctx)
	if err != nil {
		return nil, f.tree.failed(ctx, f.EmbeddedInode(), err)
	}
	e := byName[name]
	if e == nil {
		return nil, syscall.ENOENT
	}
	// A node that the kernel knows holds its list. go-fuse would drop a second node.
	id := fs.StableAttr{Mode: e.kind, Ino: f.tree.inode(e.key)}
	child := f.GetChild(name)
	if child == nil || child.StableAttr() != id {
		child = f.NewInode(ctx, e.make(), id)
	}
	n := child.Operations().(node)
	n.attributes(ctx, &out.Attr)
	out.SetAttrTimeout(n.stays())
	out.SetEntryTimeout(f.refresh)
	return child, 0
}

// Readdir lists the folder.
func (f *folder) Readdir(request context.Context) (fs.DirStream, syscall.Errno) {
	ctx, done := f.tree.call(request)
	defer done()
	list, _, err := f.entries(ctx)
	if err != nil {
		return nil, f.tree.failed(ctx, f.EmbeddedInode(), err)
	}
	_, parent := f.Parent()
	if parent == nil {
		parent = f.EmbeddedInode()
	}
	all := make([]fuse.DirEntry, 0, 2+len(list))
	all = append(all,
		fuse.DirEntry{Name: ".", Mode: fuse.S_IFDIR, Ino: f.StableAttr().Ino},
		fuse.DirEntry{Name: "..", Mode: fuse.S_IFDIR, Ino: parent.StableAttr().Ino})
	for _, e := range list {
		all = append(all, fuse.DirEntry{Name: e.name, Mode: e.kind, Ino: f.tree.inode(e.key)})
	}
	return fs.NewListDirStream(all), 0
}

// Getattr returns what stat shows.
func (f *folder) Getattr(request context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	ctx, done := f.tree.call(request)
	defer done()
	f.attributes(ctx, &out.Attr)
	out.SetTimeout(f.stays())
	return 0
}

// attributes never fails: the mount point itself stays usable while the store does not answer. A folder whose entries
// are not known has one link, by which find knows that it cannot count on the number.
func (f *folder) attributes(ctx context.Context, out *fuse.Attr) {
	f.tree.fill(out, f.at, 0o500)
	if f.leaf {
		out.Nlink = 2
		return
	}
	list, _, err := f.entries(ctx)
	if err != nil {
		return
	}
	out.Nlink = 2
	at := f.at
	for _, e := range list {
		if e.kind == fuse.S_IFDIR {
			out.Nlink++
		}
		if f.at.IsZero() && e.at.After(at) {
			at = e.at
		}
	}
	fillTimes(out, at)
}

func (f *folder) stays() time.Duration { return f.refresh }

// Statfs reports a file system without blocks, as /proc does: monitors would call one without free blocks full.
func (f *folder) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = blockLen, blockLen, maxName
	return 0
}

// Setattr refuses all changes. The default of go-fuse says that the operation is unknown.
func (f *folder) Setattr(context.Context, fs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EPERM
}

// Unlink refuses. The default of go-fuse is success.
func (f *folder) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }

// Rmdir refuses. The default of go-fuse is success.
func (f *folder) Rmdir(context.Context, string) syscall.Errno { return syscall.EPERM }

// Rename refuses.
func (f *folder) Rename(context.Context, string, fs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EPERM
}

// A link points to the newest version of a disk.
type link struct {
	fs.Inode
	disk *folder
}

var (
	_ node              = (*link)(nil)
	_ fs.NodeGetattrer  = (*link)(nil)
	_ fs.NodeReadlinker = (*link)(nil)
)

// Readlink returns the name of the newest version. The kernel does not keep it.
func (l *link) Readlink(request context.Context) ([]byte, syscall.Errno) {
	ctx, done := l.disk.tree.call(request)
	defer done()
	newest, err := l.newest(ctx)
	if err != nil {
		return nil, l.disk.tree.failed(ctx, l.EmbeddedInode(), err)
	}
	if newest == nil {
		return nil, syscall.ENOENT
	}
	return []byte(newest.name), 0
}

// newest returns the newest version's entry, or nil if the disk has none.
func (l *link) newest(ctx context.Context) (newest *entry, err error) {
	list, _, err := l.disk.entries(ctx)
	for _, e := range list {
		if e.kind == fuse.S_IFDIR {
			newest = e
		}
	}
	return newest, err
}

// Getattr returns what stat shows.
func (l *link) Getattr(request context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	ctx, done := l.disk.tree.call(request)
	defer done()
	l.attributes(ctx, &out.Attr)
	out.SetTimeout(l.stays())
	return 0
}

func (l *link) attributes(ctx context.Context, out *fuse.Attr) {
	newest, err := l.newest(ctx)
	if err != nil || newest == nil {
		newest = &entry{at: l.disk.tree.since}
	}
	l.disk.tree.fill(out, newest.at, 0o777)
	out.Size = uint64(len(newest.name))
}

func (l *link) stays() time.Duration { return l.disk.refresh }
