package virtual

import (
	"fmt"
	"io"

	lru "github.com/hashicorp/golang-lru/v2"

	"platter/snapshot/image"
)

// A tableFile is one of a disk's files with a cache for its tables: arrays of little-endian 32-bit words.
type tableFile struct {
	image.Disk
	data  *origin // the same file
	cache *tableCache
}

// A tableCache holds pages of tables, shared by all files of a disk. It limits memory, however large a file's tables
// are.
type tableCache struct{ pages *lru.Cache[tablePage, []byte] }

type tablePage struct {
	file *tableFile
	off  int64
}

const (
	wordLen       = 4    // bytes
	tablePageLen  = 4096 // bytes
	tableCacheLen = 1024 // pages
)

func newTableCache() *tableCache {
	pages, err := lru.New[tablePage, []byte](tableCacheLen)
	if err != nil {
		panic(err) // only for an invalid length
	}
	return &tableCache{pages}
}

func (c *tableCache) file(d image.Disk) *tableFile { return &tableFile{d, originOf(d), c} }

// holds reports whether n bytes at off are inside the file.
func (f *tableFile) holds(off, n int64) bool {
	return off >= 0 && n >= 0 && n <= f.Size() && off <= f.Size()-n
}

// bytes reads n bytes at off. The error wraps ErrDamaged if the file ends before that.
func (f *tableFile) bytes(off, n int64) ([]byte, error) {
	if !f.holds(off, n) {
		return nil, fmt.Errorf("%w: it ends before %d bytes at byte %d", ErrDamaged, n, off)
	}
	p := make([]byte, n)
	if got, err := f.ReadAt(p, off); got < len(p) {
		return nil, fmt.Errorf("read the image's header: %w", err)
	}
	return p, nil
}

// words returns up to n words of a table, at least one, as bytes. off is a multiple of wordLen. The slice belongs to
// the cache.
func (f *tableFile) words(off, n int64) ([]byte, error) {
	if !f.holds(off, wordLen) {
		return nil, fmt.Errorf("%w: a table is past its end, at byte %d", ErrDamaged, off)
	}
	key := tablePage{f, off / tablePageLen * tablePageLen}
	page, ok := f.cache.pages.Get(key)
	if !ok {
		page = make([]byte, min(tablePageLen, f.Size()-key.off))
		if n, err := f.ReadAt(page, key.off); n < len(page) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read a table of the image: %w", err)
		}
		f.cache.pages.Add(key, page)
	}
	page = page[off-key.off:]
	page = page[:len(page)/wordLen*wordLen]
	return page[:min(int64(len(page)), n*wordLen)], nil
}
