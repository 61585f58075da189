package image

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A lightReader reads through the page cache and leaves it as it was: it drops the pages that its reads brought in, and
// no others. A disk is larger than most memories, and a nightly backup should not evict what the machine works with. If
// the system does not show this user what it caches, all pages stay.
type lightReader struct {
	file  *os.File
	page  int64       // bytes
	blind atomic.Bool // the file system has no memory maps, which show what is cached
}

// pagesAtOnce is how many pages one query of the cache covers: 2 MiB with pages of 4 KiB.
const pagesAtOnce = 512

// ReadAt reads like os.File.ReadAt.
func (l *lightReader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return l.file.ReadAt(p, off) // returns its error
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

// look finds out which pages from start on are cached, in the lowest bit of each byte. It returns false if the system
// does not show it, or if all pages are cached, so that nothing needs to be dropped.
func (l *lightReader) look(cached []byte, start int64) bool {
	length := int64(len(cached)) * l.page
	// A query of the count is a hundred times cheaper than a query of each page. But on a stacked file system
	// (overlayfs) the pages belong to another file and the count is zero. So only "all" is trusted.
	if allCached(l.file, start, length) || l.blind.Load() {
		return false
	}
	// The code never accesses the map, so a file that becomes shorter does no harm.
	at, err := unix.MmapPtr(int(l.file.Fd()), start, nil, uintptr(length), unix.PROT_NONE, unix.MAP_SHARED)
	if err != nil {
		l.blind.Store(errors.Is(err, unix.ENODEV))
		return false
	}
	// The system reports all pages as cached to users who may not write the file; so all pages stay.
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(at), uintptr(length), uintptr(unsafe.Pointer(&cached[0])))
	return unix.MunmapPtr(at, uintptr(length)) == nil && errno == 0
}

// drop drops the pages that were not cached before.
func (l *lightReader) drop(cached []byte, start int64) {
	for i := 0; i < len(cached); i++ {
		first := i
		for i < len(cached) && cached[i]&1 == 0 {
			i++
		}
		if i > first { // if the system ignores the advice, this only costs room in the cache
			_ = unix.Fadvise(int(l.file.Fd()), start+int64(first)*l.page, int64(i-first)*l.page, unix.FADV_DONTNEED)
		}
	}
}
