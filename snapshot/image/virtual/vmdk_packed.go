package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/klauspost/compress/zlib"
)

// Markers of a stream-optimized file. The data of a grain follows its marker immediately. All other markers have
// length 0 and occupy a sector:
//
//	 0  u64  for a grain: its first sector in the disk; else the number of sectors that follow
//	 8  u32  for a grain: the length of its data, a zlib stream
//	12  u32  else the kind of the sectors that follow
const (
	vmdkMarkEnd       = 0
	vmdkMarkTable     = 1
	vmdkMarkDirectory = 2
	vmdkMarkFooter    = 3

	vmdkMarkLen = 12 // bytes; of a grain's marker
)

// vmdkRecent is how many bytes of decompressed grains are kept, for reads of less than a grain.
const vmdkRecent = 4 << 20

// A vmdkUnpacker reads a part with compressed grains. It is called only for allocated grains.
type vmdkUnpacker struct {
	part   *vmdkSparse
	packed sync.Pool // *[]byte
	zlib   sync.Pool // io.ReadCloser that is a zlib.Resetter
	recent *lru.Cache[int64, []byte]
}

func newVMDKUnpacker(part *vmdkSparse) *vmdkUnpacker {
	recent, err := lru.New[int64, []byte](int(max(2, vmdkRecent/part.grain)))
	if err != nil {
		panic(err) // only for an invalid length
	}
	return &vmdkUnpacker{part: part, recent: recent}
}

// ReadAt reads at a byte offset of the part.
func (u *vmdkUnpacker) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		index, skip := off/u.part.grain, off%u.part.grain
		m := int(min(u.part.grain-skip, int64(len(p)-n)))
		if int64(m) == u.part.grain {
			if err := u.grain(p[n:n+m], index); err != nil {
				return n, err
			}
		} else {
			data, ok := u.recent.Get(index)
			if !ok {
				data = make([]byte, u.part.grain)
				if err := u.grain(data, index); err != nil {
					return n, err
				}
				u.recent.Add(index, data)
			}
			copy(p[n:n+m], data[skip:])
		}
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

// grain decompresses one grain into p, which has the length of a grain.
func (u *vmdkUnpacker) grain(p []byte, index int64) error {
	packed, _ := u.packed.Get().(*[]byte)
	if packed == nil {
		packed = new([]byte)
	}
	defer u.packed.Put(packed)
	err := u.load(packed, index)
	if err == nil {
		// Bytes past the end of the disk may be missing.
		err = u.unpack(p, (*packed)[vmdkMarkLen:], min(u.part.grain, u.part.size-index*u.part.grain))
	}
	if err != nil {
		return fmt.Errorf("compressed grain at sector %d: %w", index*u.part.grain/vmdkSector, err)
	}
	return nil
}

// load reads a grain's compressed data into *packed, which it enlarges if necessary.
func (u *vmdkUnpacker) load(packed *[]byte, index int64) error {
	f := u.part.file
	entries, absent, err := u.part.places(index, 2)
	if err != nil {
		return err
	}
	if absent > 0 || le32(entries) == 0 {
		return errors.New("the file changed while it was read")
	}
	at := int64(le32(entries)) * vmdkSector
	// The next grain usually begins where this one ends. If this first guess is too short, a second read follows.
	guess := u.part.grain
	if len(entries) > wordLen {
		if next := int64(le32(entries[wordLen:])) * vmdkSector; next > at {
			guess = min(guess, next-at)
		}
	}
	if !f.holds(at, vmdkMarkLen) {
		return fmt.Errorf("%w: it is past the file's end", ErrDamaged)
	}
	*packed = sized(*packed, min(guess, f.Size()-at))
	if n, err := f.ReadAt(*packed, at); n < len(*packed) {
		return err
	}
	first, n := le64(*packed), int64(le32((*packed)[8:]))
	if first != uint64(index*u.part.grain/vmdkSector) {
		return fmt.Errorf("%w: its marker is for the grain at sector %d", ErrDamaged, first)
	}
	// Compression makes noise a little longer, but never twice as long.
	if n == 0 || n > 2*u.part.grain || !f.holds(at+vmdkMarkLen, n) {
		return fmt.Errorf("%w: %d bytes in the file", ErrDamaged, n)
	}
	if have := int64(len(*packed)); have < vmdkMarkLen+n {
		*packed = sized(*packed, vmdkMarkLen+n)
		if n, err := f.ReadAt((*packed)[have:], at+have); n < len(*packed)-int(have) {
			return err
		}
	}
	*packed = (*packed)[:vmdkMarkLen+n]
	return nil
}

// sized returns p with another length and its content.
func sized(p []byte, n int64) []byte {
	if int64(cap(p)) < n {
		p = append(make([]byte, 0, n), p...)
	}
	return p[:n]
}

// unpack inflates a zlib stream into p: at least need bytes and at most len(p). It verifies the stream's own
// checksum.
func (u *vmdkUnpacker) unpack(p, packed []byte, need int64) error {
	r, _ := u.zlib.Get().(io.ReadCloser)
	var err error
	if r == nil {
		r, err = zlib.NewReader(bytes.NewReader(packed))
	} else {
		err = r.(zlib.Resetter).Reset(bytes.NewReader(packed), nil)
	}
	n := 0
	for err == nil && n < len(p) {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	if err == nil { // p is full: the stream must end now
		var more [1]byte
		var m int
		if m, err = io.ReadFull(r, more[:]); m > 0 {
			err = errors.New("it is longer than a grain")
		}
	}
	if err != io.EOF {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	u.zlib.Put(r)
	if int64(n) < need {
		return fmt.Errorf("%w: it has %d of %d bytes", ErrDamaged, n, need)
	}
	clear(p[n:])
	return nil
}
