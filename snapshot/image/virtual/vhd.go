package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"platter/snapshot/image"
)

// VHD is the format of Virtual PC, of Hyper-V before 2012, and of Azure; qemu calls it vpc. All integers are big-endian.
//
//	fixed      the disk ‖ footer
//	dynamic    footer ‖ … header … table … blocks, each after its bitmap … ‖ footer
//
// The footer, 512 bytes:
//
//	 0  "conectix"      8  features u32        12  version u32 (0x00010000)
//	16  offset of the header u64 (dynamic)     24  time u32, seconds since 2000
//	28  creator, 4     32  its version u32     36  its system, 4
//	40  size u64, at creation                  48  size u64, current
//	56  geometry: cylinders u16, heads u8, sectors u8
//	60  type u32: 2 fixed, 3 dynamic, 4 differencing
//	64  checksum u32: ^ of the sum of all other bytes
//	68  UUID, 16
const VHD = "vhd"

const (
	vhdSector    = 512
	vhdFooterLen = 512
	vhdCookie    = "conectix"
	vhdVersion   = 0x00010000
	vhdNoOffset  = 1<<64 - 1

	vhdFixed, vhdDynamic, vhdDifferencing = 2, 3, 4

	// vhdMaxLen is the longest disk, in bytes: tables count sectors of the file in 32 bits.
	vhdMaxLen = 2040 << 30
	// vhdMaxGeometry is the largest geometry, in sectors. It means that the disk may be larger.
	vhdMaxGeometry = 65535 * 16 * 255
)

// A vhdFooter has the fields of a footer that a reader needs.
type vhdFooter struct {
	kind      uint32
	header    uint64 // offset of the header, bytes
	size      uint64 // current, bytes
	cylinders uint16
	heads     uint8
	sectors   uint8
	creator   string
	id        [16]byte
}

func parseVHDFooter(p []byte) (vhdFooter, error) {
	if len(p) < vhdFooterLen || string(p[:8]) != vhdCookie {
		return vhdFooter{}, fmt.Errorf("%w: no footer", ErrDamaged)
	}
	p = p[:vhdFooterLen]
	if vhdSum(p, 64) != binary.BigEndian.Uint32(p[64:]) {
		return vhdFooter{}, fmt.Errorf("%w: the checksum of a footer is wrong", ErrDamaged)
	}
	if v := binary.BigEndian.Uint32(p[12:]); v>>16 != vhdVersion>>16 {
		return vhdFooter{}, fmt.Errorf("%w: VHD version %d.%d", ErrUnsupported, v>>16, v&0xffff)
	}
	return vhdFooter{
		kind:      binary.BigEndian.Uint32(p[60:]),
		header:    binary.BigEndian.Uint64(p[16:]),
		size:      binary.BigEndian.Uint64(p[48:]),
		cylinders: binary.BigEndian.Uint16(p[56:]),
		heads:     p[58],
		sectors:   p[59],
		creator:   string(p[28:32]),
		id:        [16]byte(p[68:84]),
	}, nil
}

// vhdSum returns the checksum of a footer or a header whose checksum field is at off.
func vhdSum(p []byte, off int) uint32 {
	var sum uint32
	for i, b := range p {
		if i < off || i >= off+4 {
			sum += uint32(b)
		}
	}
	return ^sum
}

// disk returns the disk's size in bytes. A footer has it twice, and programs disagree on which of the two a guest
// sees. For Virtual PC, and for qemu without force_size, the geometry is the disk's size, which may be some sectors
// less than the size field. A geometry that is zero or at its limit says nothing.
func (f vhdFooter) disk() (int64, error) {
	size := f.size
	if f.creator == "vpc " || f.creator == "qemu" {
		if chs := uint64(f.cylinders) * uint64(f.heads) * uint64(f.sectors); chs > 0 && chs != vhdMaxGeometry {
			size = chs * vhdSector
		}
	}
	if size > vhdMaxLen {
		return 0, fmt.Errorf("%w: a disk of %d bytes, but VHD holds at most 2040 GiB", ErrDamaged, size)
	}
	return int64(size), nil
}

// fits reports whether a file of n bytes is a fixed disk and this footer, and nothing else.
func (f vhdFooter) fits(n int64) bool {
	size := uint64(n) - vhdFooterLen
	return f.kind == vhdFixed && n >= vhdFooterLen &&
		(f.size == size || f.size < size && (f.size+vhdSector-1)/vhdSector*vhdSector == size)
}

// vhdEnd returns the footer at the end of a file, given at least the file's last bytes.
func vhdEnd(tail []byte) []byte { return tail[max(0, len(tail)-vhdFooterLen):] }

// detectVHD recognises a fixed disk by its last sector alone. A raw disk may end with an old footer, so the footer
// must be valid and its disk must have exactly this length.
func detectVHD(e edges) bool {
	head, tail, size := e.head, e.tail, e.size
	if end, err := parseVHDFooter(vhdEnd(tail)); err == nil {
		if end.fits(size) {
			return true
		}
		if at := end.header; end.kind != vhdFixed && at < uint64(len(head)) && bytes.HasPrefix(head[at:], []byte(vhdHeaderCookie)) {
			return true
		}
	}
	if first, err := parseVHDFooter(head); err == nil || errors.Is(err, ErrUnsupported) {
		return first.kind != vhdFixed
	}
	return bytes.HasPrefix(head, []byte(vhdCookie)) && bytes.HasPrefix(head[min(len(head), vhdFooterLen):], []byte(vhdHeaderCookie))
}

// findVHDFooter returns the footer at the end, or its copy at the beginning if that one is damaged.
func findVHDFooter(file image.Disk) (vhdFooter, error) {
	if file.Size() < vhdFooterLen {
		return vhdFooter{}, fmt.Errorf("%w: %d bytes hold no footer", ErrDamaged, file.Size())
	}
	var head, tail [vhdFooterLen]byte
	if err := errors.Join(vhdReadFull(file, tail[:], file.Size()-vhdFooterLen), vhdReadFull(file, head[:], 0)); err != nil {
		return vhdFooter{}, err
	}
	end, endErr := parseVHDFooter(tail[:])
	if endErr == nil && end.fits(file.Size()) {
		return end, nil // its first sector belongs to the guest, which may write anything
	}
	first, firstErr := parseVHDFooter(head[:])
	switch {
	case endErr == nil && end.kind == vhdFixed && (firstErr != nil || first.kind == vhdFixed):
		return vhdFooter{}, fmt.Errorf("%w: it is a fixed disk of %d bytes in a file of %d: was it cut short? "+
			"(a raw disk that only ends like one is read with the format raw)", ErrDamaged, end.size, file.Size())
	case firstErr == nil && first.kind == vhdFixed && (endErr != nil || end.kind == vhdFixed):
		return vhdFooter{}, fmt.Errorf("%w: a fixed disk without a footer at its end: was it cut short?", ErrDamaged)
	case endErr != nil && firstErr != nil:
		return vhdFooter{}, errors.Join(endErr, firstErr)
	case endErr != nil || end.kind == vhdFixed:
		return first, nil
	case firstErr != nil || first == end:
		return end, nil
	}
	return vhdFooter{}, fmt.Errorf("%w: its two footers are both valid and differ: repair it with the program that made it", ErrDamaged)
}

func openVHD(o *opening) (image.Disk, error) {
	if err := vhdNoSnapshot(o); err != nil {
		return nil, err
	}
	f, err := findVHDFooter(o.Disk)
	if err != nil {
		return nil, err
	}
	size, err := f.disk()
	if err != nil {
		return nil, err
	}
	switch f.kind {
	case vhdFixed:
		return vhdFront{o.Disk, min(size, o.Size()-vhdFooterLen)}, nil
	case vhdDynamic:
		return openVHDDynamic(o.Disk, f, size)
	case vhdDifferencing:
		return nil, fmt.Errorf("%w: it is a differencing disk: merge it with its parent first (in Hyper-V: Merge-VHD)", ErrUnsupported)
	}
	return nil, fmt.Errorf("%w: a VHD of type %d", ErrUnsupported, f.kind)
}

// A vhdFront is the beginning of a file.
type vhdFront struct {
	file image.Disk
	size int64
}

func (d vhdFront) Size() int64 { return d.size }

func (d vhdFront) ReadAt(p []byte, off int64) (int, error) {
	if off >= d.size {
		return 0, io.EOF
	}
	if off < 0 || int64(len(p)) <= d.size-off {
		return d.file.ReadAt(p, off)
	}
	n, err := d.file.ReadAt(p[:d.size-off], off)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

func (d vhdFront) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		for e, err := range d.file.Extents() {
			if e.Len = min(e.Len, d.size-e.Off); err == nil && e.Len <= 0 || !yield(e, err) || err != nil {
				return
			}
		}
	}
}
