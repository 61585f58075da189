package fuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"platter/snapshot/image"
)

const (
	blockLen  = 4096 // bytes; the unit of st_blksize. The kernel's page cache knows no larger one
	sectorLen = 512  // bytes; the unit of st_blocks
)

// A file is a disk, a partition or a text.
type file struct {
	fs.Inode
	tree     *tree
	file     File
	at       time.Time
	writable bool         // the mount allows it too
	changed  atomic.Int64 // when it was written last, in nanoseconds since 1970; 0: never

	turn    *semaphore.Weighted // guards what follows
	disk    image.Disk          // nil while handles is 0
	handles int
}

// A handle is an open file.
type handle struct {
	file    *file
	disk    image.Disk
	target  image.Writable // nil if it may not be written
	written atomic.Bool    // and not synced since
}

var (
	_ node             = (*file)(nil)
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeSetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.FileReader    = (*handle)(nil)
	_ fs.FileLseeker   = (*handle)(nil)
	_ fs.FileReleaser  = (*handle)(nil)
)

func (t *tree) file(f File, at time.Time) *file {
	return &file{tree: t, file: f, at: at, writable: f.Writable && t.opts.Writable, turn: semaphore.NewWeighted(1)}
}

// Getattr returns what stat shows.
func (f *file) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.attributes(ctx, &out.Attr)
	out.SetTimeout(f.stays())
	return 0
}

func (f *file) attributes(_ context.Context, out *fuse.Attr) {
	at, permissions := f.at, uint32(0o400)
	if f.writable {
		permissions = 0o600
	}
	if changed := f.changed.Load(); changed != 0 {
		at = time.Unix(0, changed)
	}
	f.tree.fill(out, at, permissions)
	out.Size, out.Blksize = uint64(f.file.Size), blockLen
	out.Blocks = blocks(f.file, f.tree.opts.Writable)
}

// stays is long even for a file that may change: a write through this mount makes the kernel ask again.
func (f *file) stays() time.Duration { return lasting }

// blocks returns st_blocks. Programs look for holes only if it is smaller than the size, and take a file without blocks
// for one hole. So it is one less than the size where the holes are not known, and at least one where there is data.
func blocks(f File, writable bool) uint64 {
	whole := (f.Size + sectorLen - 1) / sectorLen
	if f.Data == 0 && !writable {
		return 0
	}
	if f.Data < 0 || writable {
		return uint64(max(f.Size/sectorLen-1, min(whole, 1)))
	}
	return uint64(min((f.Data+sectorLen-1)/sectorLen, whole))
}

// Open opens the file. Its disk is opened for the first handle and closed with the last.
//
// The page cache keeps what was read, unless the mount is writable. Then a write to a disk changes its partitions' files
// too, whose cached pages would go stale.
func (f *file) Open(request context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	ctx, done := f.tree.call(request)
	defer done()
	write := flags&unix.O_ACCMODE != unix.O_RDONLY
	switch {
	case write && !f.writable:
		return nil, 0, syscall.EROFS
	case flags&unix.O_TRUNC != 0 && f.file.Size > 0:
		return nil, 0, syscall.EPERM
	}
	disk, err := f.acquire(ctx)
	if err != nil {
		return nil, 0, f.tree.failed(ctx, f.EmbeddedInode(), err)
	}
	h := &handle{file: f, disk: disk}
	if write {
		h.target, _ = image.As[image.Writable](disk) // acquire has seen that it is one
	}
	if f.tree.opts.Writable {
		return h, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
	}
	return h, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
}

// acquire returns the file's disk for a new handle.
func (f *file) acquire(ctx context.Context) (image.Disk, error) {
	if err := f.turn.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer f.turn.Release(1)
	if f.handles == 0 {
		disk, err := f.file.Open(ctx)
		if err != nil {
			return nil, err
		}
		closer, closes := disk.(io.Closer)
		if err := f.suits(disk); err != nil {
			if closes {
				err = errors.Join(err, closer.Close())
			}
			return nil, err
		}
		f.disk = disk
		if closes {
			f.tree.mu.Lock()
			f.tree.opened[f] = closer
			f.tree.mu.Unlock()
		}
	}
	f.handles++
	return f.disk, nil
}

// suits reports what keeps a disk from being this file.
func (f *file) suits(disk image.Disk) error {
	if disk.Size() != f.file.Size {
		return fmt.Errorf("it has %d bytes, and its description says %d", disk.Size(), f.file.Size)
	}
	if _, ok := image.As[image.Writable](disk); f.writable && !ok {
		return errors.New("it cannot be written, and its description says that it can")
	}
	return nil
}

// Release is called once for each handle, when the last program has closed it.
func (h *handle) Release(context.Context) syscall.Errno {
	f := h.file
	if err := f.turn.Acquire(context.Background(), 1); err != nil { // never: this context does not end
		return syscall.EIO
	}
	defer f.turn.Release(1)
	if f.handles--; f.handles > 0 {
		return 0
	}
	f.tree.mu.Lock()
	closer := f.tree.opened[f]
	delete(f.tree.opened, f)
	f.tree.mu.Unlock()
	f.disk = nil
	if closer == nil {
		return 0
	}
	if err := closer.Close(); err != nil {
		return f.tree.failed(f.tree.ctx, f.EmbeddedInode(), err)
	}
	return 0
}

// Read reads into the buffer that goes to the kernel. A read that fails returns no bytes at all, not even those before
// the failure: the kernel would take a short answer for the end of the file, and show zeros from there on.
func (h *handle) Read(request context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	ctx, done := h.file.tree.call(request)
	defer done()
	p = p[:max(0, min(int64(len(p)), h.file.file.Size-off))]
	if n, err := image.ReadAt(ctx, h.disk, p, off); n < len(p) {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, h.failed(ctx, fmt.Errorf("read %d bytes at %d: %w", len(p), off, err))
	}
	return fuse.ReadResultData(p), 0
}

// Lseek finds data and holes. What is unreadable counts as data.
func (h *handle) Lseek(request context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	ctx, done := h.file.tree.call(request)
	defer done()
	size := h.file.file.Size
	if off >= uint64(size) {
		return 0, syscall.ENXIO
	}
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, syscall.EINVAL
	}
	for e, err := range image.ExtentsIn(ctx, h.disk, int64(off), size-int64(off)) {
		if err != nil {
			return 0, h.failed(ctx, fmt.Errorf("find holes from %d on: %w", off, err))
		}
		if e.Len > 0 && e.Zero == (whence == unix.SEEK_HOLE) {
			return uint64(e.Off), 0
		}
	}
	if whence == unix.SEEK_DATA {
		return 0, syscall.ENXIO
	}
	return uint64(size), 0
}

func (h *handle) failed(ctx context.Context, err error) syscall.Errno {
	return h.file.tree.failed(ctx, h.file.EmbeddedInode(), err)
}
