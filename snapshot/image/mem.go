package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"sort"
)

// Mem is a disk in memory, for tests.
type Mem struct {
	Data  []byte // not copied
	Holes bool   // all-zero blocks of 4 KiB are zero extents; otherwise all is data
}

// Sparse is a disk of any size that takes no space, for tests: zeros, with runs of deterministic, incompressible data.
type Sparse struct {
	Bytes int64  // size
	Fills []Fill // in order, within the disk, not overlapping
}

// A Fill is a run of data. Its content depends only on the seed: the same seed at another offset gives the same data
// there.
type Fill struct {
	Off, Len int64 // bytes
	Seed     uint64
}

var (
	_ Disk = Mem{}
	_ Disk = Sparse{}
)

// Size returns the size in bytes.
func (m Mem) Size() int64 { return int64(len(m.Data)) }

// ReadAt reads at a byte offset; past the end it returns io.EOF.
func (m Mem) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.Data).ReadAt(p, off) }

// Extents yields the disk in order.
func (m Mem) Extents() iter.Seq2[Extent, error] {
	return Joined(func(yield func(Extent, error) bool) {
		for off := 0; off < len(m.Data); off += blockLen {
			block := m.Data[off:min(off+blockLen, len(m.Data))]
			run := Extent{Off: int64(off), Len: int64(len(block)), Zero: m.Holes && isZero(block)}
			if !yield(run, nil) {
				return
			}
		}
	})
}

// Size returns the size in bytes.
func (s Sparse) Size() int64 { return s.Bytes }

// ReadAt reads at a byte offset; past the end it returns io.EOF.
func (s Sparse) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read sparse disk: negative offset")
	}
	if off >= s.Bytes {
		return 0, io.EOF
	}
	whole := int64(len(p)) <= s.Bytes-off
	if !whole {
		p = p[:s.Bytes-off]
	}
	clear(p)
	end := off + int64(len(p))
	first := sort.Search(len(s.Fills), func(i int) bool { return s.Fills[i].Off+s.Fills[i].Len > off })
	for _, f := range s.Fills[first:] {
		if f.Off >= end {
			break
		}
		from, to := max(off, f.Off), min(end, f.Off+f.Len)
		f.read(p[from-off:to-off], from-f.Off)
	}
	if !whole {
		return len(p), io.EOF
	}
	return len(p), nil
}

// Extents yields the disk in order. It yields an error if the fills overlap or are out of order.
func (s Sparse) Extents() iter.Seq2[Extent, error] {
	return Joined(func(yield func(Extent, error) bool) {
		off := int64(0)
		for _, f := range s.Fills {
			if f.Off < off || f.Len < 0 || f.Len > s.Bytes-f.Off {
				yield(Extent{}, errors.New("sparse disk: a fill overlaps another or is outside the disk"))
				return
			}
			if !yield(Extent{Off: off, Len: f.Off - off, Zero: true}, nil) ||
				!yield(Extent{Off: f.Off, Len: f.Len}, nil) {
				return
			}
			off = f.Off + f.Len
		}
		yield(Extent{Off: off, Len: s.Bytes - off, Zero: true}, nil)
	})
}

// read writes the fill's bytes from pos on into p. It uses SplitMix64, which can start anywhere.
func (f Fill) read(p []byte, pos int64) {
	var word [8]byte
	start := mix(f.Seed)
	for len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], mix(start+uint64(pos/8+1)*0x9e3779b97f4a7c15))
		n := copy(p, word[pos%8:])
		p, pos = p[n:], pos+int64(n)
	}
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
