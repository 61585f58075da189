package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sort"

	"platter/snapshot/image"
)

// VHDX is the format of Hyper-V since 2012. All integers are little-endian. Checksums are CRC-32C, computed with the
// checksum field as zeros. GUIDs are compared as bytes.
//
//	  0       "vhdxfile" ‖ creator, UTF-16
//	 64 KiB   header        128 KiB   second header: the one with the higher number counts
//	192 KiB   region table  256 KiB   its copy
//	  1 MiB…  the log, the regions and the blocks, all on whole MiB
//
// A header, 4096 bytes:
//
//	 0  "head"              4  checksum u32       8  number u64
//	16  file GUID          32  data GUID         48  log GUID; zeros: the log is empty
//	64  log version u16    66  version u16 (1)   68  length of the log u32
//	72  offset of the log u64
//
// A region table, 64 KiB: "regi", checksum u32, count u32 (at most 2047), 4 bytes; then for each region its GUID,
// offset u64, length u32, and flags u32. Flag 1: a reader that does not know the region must not open the file.
const VHDX = "vhdx"

const (
	vhdxCookie = "vhdxfile"
	vhdxMiB    = 1 << 20

	vhdxHeader1, vhdxHeader2   = 64 << 10, 128 << 10
	vhdxHeaderLen              = 4096
	vhdxRegions1, vhdxRegions2 = 192 << 10, 256 << 10
	vhdxTableLen               = 64 << 10 // of regions, and of metadata
	vhdxTableMax               = 2047     // entries
)

type vhdxGUID [16]byte

// Known regions.
var (
	vhdxRegionTable    = vhdxGUID{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}
	vhdxRegionMetadata = vhdxGUID{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}
)

var vhdxCRC = crc32.MakeTable(crc32.Castagnoli)

// vhdxSum returns the checksum of p, whose checksum field is at byte 4.
func vhdxSum(p []byte) uint32 {
	sum := crc32.Update(0, vhdxCRC, p[:4])
	return crc32.Update(crc32.Update(sum, vhdxCRC, make([]byte, 4)), vhdxCRC, p[8:])
}

// vhdxWhole reports whether p has a signature and the right checksum.
func vhdxWhole(p []byte, name string) bool {
	return string(p[:4]) == name && vhdxSum(p) == binary.LittleEndian.Uint32(p[4:])
}

func detectVHDX(e edges) bool { return bytes.HasPrefix(e.head, []byte(vhdxCookie)) }

// A vhdxFile is the layout of a VHDX file.
type vhdxFile struct {
	image.Disk // the file with its log replayed
	log        vhdxRegion
	logGUID    vhdxGUID
	table      vhdxRegion
	metadata   vhdxRegion
	taken      []vhdxRegion // all of these and unknown regions, in order
}

// A vhdxRegion is a part of the file other than blocks.
type vhdxRegion struct{ at, len int64 }

func openVHDX(o *opening) (image.Disk, error) {
	if err := vhdNoSnapshot(o); err != nil {
		return nil, err
	}
	f := &vhdxFile{Disk: o.Disk}
	if f.Size() < vhdxMiB {
		return nil, fmt.Errorf("%w: %d bytes are too few for its headers", ErrDamaged, f.Size())
	}
	if err := f.readHeader(); err != nil {
		return nil, err
	}
	if f.logGUID != (vhdxGUID{}) {
		patched, err := vhdxReplay(f.Disk, f.log, f.logGUID)
		if err != nil {
			return nil, err
		}
		f.Disk = patched
	}
	if err := f.readRegions(); err != nil {
		return nil, err
	}
	d, err := f.readMetadata()
	if err != nil {
		return nil, err
	}
	return openVHDXBlocks(f, d)
}

// readHeader reads the header that counts.
func (f *vhdxFile) readHeader() error {
	var p [2][vhdxHeaderLen]byte
	if err := errors.Join(vhdReadFull(f, p[0][:], vhdxHeader1), vhdReadFull(f, p[1][:], vhdxHeader2)); err != nil {
		return err
	}
	whole0, whole1 := vhdxWhole(p[0][:], "head"), vhdxWhole(p[1][:], "head")
	number0, number1 := binary.LittleEndian.Uint64(p[0][8:]), binary.LittleEndian.Uint64(p[1][8:])
	h := &p[0]
	switch {
	case !whole0 && !whole1:
		return fmt.Errorf("%w: the checksums of both its headers are wrong", ErrDamaged)
	case whole0 && whole1 && number0 == number1 && p[0] != p[1]: // disk2vhd writes the same header twice
		return fmt.Errorf("%w: its two headers have the same number and differ", ErrDamaged)
	case !whole0, whole1 && number1 > number0:
		h = &p[1]
	}
	if v := binary.LittleEndian.Uint16(h[66:]); v != 1 {
		return fmt.Errorf("%w: VHDX version %d", ErrUnsupported, v)
	}
	if v := binary.LittleEndian.Uint16(h[64:]); v != 0 {
		return fmt.Errorf("%w: VHDX log version %d", ErrUnsupported, v)
	}
	f.logGUID = vhdxGUID(h[48:64])
	n, at := binary.LittleEndian.Uint32(h[68:]), binary.LittleEndian.Uint64(h[72:])
	if n == 0 && f.logGUID == (vhdxGUID{}) {
		return nil
	}
	var err error
	f.log, err = f.take("the log", at, n)
	return err
}

// take adds a region at an offset of the file.
func (f *vhdxFile) take(what string, at uint64, n uint32) (vhdxRegion, error) {
	r := vhdxRegion{int64(at), int64(n)}
	if at%vhdxMiB != 0 || n%vhdxMiB != 0 || n == 0 || at < vhdxMiB || at > uint64(f.Size()) || r.len > f.Size()-r.at {
		return r, fmt.Errorf("%w: %s should be at byte %d and %d bytes long, in a file of %d: was it truncated?",
			ErrDamaged, what, at, n, f.Size())
	}
	i := f.after(r.at)
	if i > 0 && f.taken[i-1].at+f.taken[i-1].len > r.at || i < len(f.taken) && f.taken[i].at < r.at+r.len {
		return r, fmt.Errorf("%w: %s, at byte %d, overlaps another region", ErrDamaged, what, at)
	}
	f.taken = append(f.taken, vhdxRegion{})
	copy(f.taken[i+1:], f.taken[i:])
	f.taken[i] = r
	return r, nil
}

// after returns the index of the first region after an offset.
func (f *vhdxFile) after(at int64) int {
	return sort.Search(len(f.taken), func(i int) bool { return f.taken[i].at > at })
}

// free reports whether a part of the file is inside it, after the headers, and overlaps no region.
func (f *vhdxFile) free(at, n int64) bool {
	if at < vhdxMiB || at > f.Size() || n > f.Size()-at {
		return false
	}
	i := f.after(at)
	return (i == 0 || f.taken[i-1].at+f.taken[i-1].len <= at) && (i == len(f.taken) || f.taken[i].at >= at+n)
}

// readRegions reads the region table, or its copy if the table is damaged.
func (f *vhdxFile) readRegions() error {
	p, other := make([]byte, vhdxTableLen), make([]byte, vhdxTableLen)
	if err := errors.Join(vhdReadFull(f, p, vhdxRegions1), vhdReadFull(f, other, vhdxRegions2)); err != nil {
		return err
	}
	switch whole, otherWhole := vhdxWhole(p, "regi"), vhdxWhole(other, "regi"); {
	case !whole && !otherWhole:
		return fmt.Errorf("%w: the checksums of both its region tables are wrong", ErrDamaged)
	case whole && otherWhole && !bytes.Equal(p, other):
		return fmt.Errorf("%w: its two region tables are both valid and differ", ErrDamaged)
	case !whole:
		p = other
	}
	count := binary.LittleEndian.Uint32(p[8:])
	if count > vhdxTableMax {
		return fmt.Errorf("%w: %d regions", ErrDamaged, count)
	}
	seen := make(map[vhdxGUID]bool)
	for i := range int(count) {
		e := p[16+32*i:][:32]
		guid := vhdxGUID(e[:16])
		if seen[guid] {
			return fmt.Errorf("%w: region %x is in its table twice", ErrDamaged, guid)
		}
		seen[guid] = true
		what := fmt.Sprintf("region %x", guid)
		if guid != vhdxRegionTable && guid != vhdxRegionMetadata && binary.LittleEndian.Uint32(e[28:])&1 != 0 {
			return fmt.Errorf("%w: %s is unknown, and the file requires it", ErrUnsupported, what)
		}
		r, err := f.take(what, binary.LittleEndian.Uint64(e[16:]), binary.LittleEndian.Uint32(e[24:]))
		if err != nil {
			return err
		}
		switch guid {
		case vhdxRegionTable:
			f.table = r
		case vhdxRegionMetadata:
			f.metadata = r
		}
	}
	if f.table.len == 0 || f.metadata.len == 0 {
		return fmt.Errorf("%w: its block table or metadata region is missing", ErrDamaged)
	}
	return nil
}
