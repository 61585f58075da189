package fuse

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A writable file behaves as a block device does: its size stays, and nothing empties it.

var (
	_ fs.FileWriter    = (*handle)(nil)
	_ fs.FileFsyncer   = (*handle)(nil)
	_ fs.FileFlusher   = (*handle)(nil)
	_ fs.FileAllocater = (*handle)(nil)
)

// Write writes what is within the file. At its end there is no space left. No signal interrupts a write.
func (h *handle) Write(ctx context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	if h.target == nil {
		return 0, syscall.EBADF
	}
	within := max(0, min(int64(len(p)), h.file.file.Size-off))
	if within == 0 && len(p) > 0 {
		return 0, syscall.ENOSPC
	}
	h.written.Store(true)
	h.file.changed.Store(time.Now().UnixNano())
	n, err := h.target.WriteAt(p[:within], off)
	if err != nil {
		return 0, h.failed(h.file.tree.ctx, fmt.Errorf("write %d bytes at %d: %w", within, off, err))
	}
	return uint32(n), 0
}

// Fsync makes durable what was written, through whichever handle.
func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	if h.target == nil {
		return 0
	}
	if err := h.target.Sync(); err != nil {
		return h.failed(h.file.tree.ctx, fmt.Errorf("sync: %w", err))
	}
	return 0
}

// Flush is called by each close, which is the last chance to return an error.
func (h *handle) Flush(ctx context.Context) syscall.Errno {
	if !h.written.Swap(false) {
		return 0
	}
	errno := h.Fsync(ctx, 0)
	if errno != 0 {
		h.written.Store(true)
	}
	return errno
}

// Allocate punches holes. It cannot promise room: programs then write zeros themselves.
func (h *handle) Allocate(_ context.Context, off, n uint64, mode uint32) syscall.Errno {
	if h.target == nil {
		return syscall.EBADF
	}
	switch mode &^ unix.FALLOC_FL_KEEP_SIZE {
	case unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE:
	default:
		return syscall.EOPNOTSUPP
	}
	size := uint64(h.file.file.Size)
	if off >= size || n > size-off {
		if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
			return syscall.EFBIG
		}
		off = min(off, size)
		n = size - off
	}
	if n == 0 {
		return 0
	}
	h.written.Store(true)
	h.file.changed.Store(time.Now().UnixNano())
	if err := h.target.Zero(int64(off), int64(n)); err != nil {
		return h.failed(h.file.tree.ctx, fmt.Errorf("zero %d bytes at %d: %w", n, off, err))
	}
	return 0
}

// Setattr refuses to change anything. A program that sets the size that the file has changes nothing.
func (f *file) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, resize := in.GetSize()
	switch {
	case resize && size > uint64(f.file.Size):
		return syscall.EFBIG
	case !resize, size < uint64(f.file.Size), in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) != 0:
		return syscall.EPERM
	}
	return f.Getattr(ctx, h, out)
}
