package image

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A lightReader reads through the page cache and leaves it as it was: pages that were there stay, pages that a read
// brought in go again. A disk is larger than most memories, and a nightly backup should not push out what the
// machine works with. Where the system does not tell what it caches, or not to this user, all stays as it comes.
type lightReader struct {
	file  *os.File
	page  int64       // bytes
	blind atomic.Bool // the file system has no maps of files in memory, which tell what is cached
}

// pagesAtOnce is how many pages one look at the cache covers: 2 MiB where pages are of 4 KiB.
const pagesAtOnce = 512

// ReadAt reads like os.File.ReadAt.
func (l *lightReader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return l.file.ReadAt(p, off) // refuses it
	}
	var cached [pagesAtOnce]byte
	for {
		at := off + int64(n)
		start := at / l.page * l.page
		q := p[n:min(int64(len(p)), int64(n)+start+pagesAtOnce*l.page-at)]
		pages := (at + int64(len(q)) - start + l.page - 1) / l.page
		known := l.look(cached[:pages], start)
		m, err := l.file.ReadAt(q, at)
		if known {
			l.drop(cached[:pages], start)
		}
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// look finds out which pages from byte start on are cached, the lowest bit of each byte; false when nothing can be
// said, or nothing needs to be done since all are.
func (l *lightReader) look(cached []byte, start int64) bool {
	length := int64(len(cached)) * l.page
	// Asking for the count is a hundred times cheaper than asking for each page, but is answered with zero for a file of
	// a stacked file system (overlayfs), whose pages are another file's. So only "all" is believed.
	if allCached(l.file, start, length) || l.blind.Load() {
		return false
	}
	// Nothing looks into the map, so a file that becomes shorter meanwhile does no harm.
	at, err := unix.MmapPtr(int(l.file.Fd()), start, nil, uintptr(length), unix.PROT_NONE, unix.MAP_SHARED)
	if err != nil {
		l.blind.Store(errors.Is(err, unix.ENODEV))
		return false
	}
	// To users who may not write the file all is said to be cached, and so all stays.
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(at), uintptr(length), uintptr(unsafe.Pointer(&cached[0])))
	return unix.MunmapPtr(at, uintptr(length)) == nil && errno == 0
}

// drop lets go of the pages that were not cached.
func (l *lightReader) drop(cached []byte, start int64) {
	for i := 0; i < len(cached); i++ {
		first := i
		for i < len(cached) && cached[i]&1 == 0 {
			i++
		}
		if i > first { // an advice that is not taken costs room in the cache and nothing else
			_ = unix.Fadvise(int(l.file.Fd()), start+int64(first)*l.page, int64(i-first)*l.page, unix.FADV_DONTNEED)
		}
	}
}
