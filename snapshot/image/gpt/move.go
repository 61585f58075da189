package gpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Moved returns what makes the table that of a disk of size bytes. Everything in second must be durable before anything of
// first is written: until then the disk has the table that it had, and from then on the new one, either whole.
func (t *Table) Moved(size int64) (second, first []Write, err error) {
	if size < t.Smallest() {
		return nil, nil, fmt.Errorf("the disk is too small for its partitions: it has %d bytes, and the smallest that would do has %d", size, t.Smallest())
	}
	last := uint64(size/t.Sector - 1)
	entries := last - uint64(t.entrySectors())
	padded := make([]byte, t.entrySectors()*t.Sector)
	copy(padded, t.entries)

	backup := bytes.Clone(t.header)
	binary.LittleEndian.PutUint64(backup[atOwn:], last)
	binary.LittleEndian.PutUint64(backup[atOther:], 1)
	binary.LittleEndian.PutUint64(backup[atEntries:], entries)
	primary := bytes.Clone(t.header)
	binary.LittleEndian.PutUint64(primary[atOther:], last)
	for _, h := range [][]byte{backup, primary} {
		binary.LittleEndian.PutUint64(h[atLastUsable:], entries-1)
		h = h[:t.u32(atLength)]
		binary.LittleEndian.PutUint32(h[atSum:], sum(h, atSum))
	}
	second = []Write{{int64(entries) * t.Sector, padded}, {int64(last) * t.Sector, backup}}
	first = []Write{{t.Sector, primary}}
	if mbr := t.protective(last); !bytes.Equal(mbr, t.mbr) {
		first = append(first, Write{0, mbr})
	}
	return second, first, nil
}

// The MBR's four entries, and in each of them.
const (
	mbrEntries  = 446
	mbrEntryLen = 16
	mbrKind     = 4
	mbrStart    = 8
	mbrLen      = 12
	protective  = 0xee
)

// protective returns the first sector, whose entry for "all of the disk" ends with the disk. Where it is something else, as
// on disks that old systems shall start from, it stays as it is.
func (t *Table) protective(last uint64) []byte {
	mbr := bytes.Clone(t.mbr)
	if !hasMBR(mbr) {
		return mbr
	}
	was := t.Other()
	for i := range 4 {
		e := mbr[mbrEntries+i*mbrEntryLen:][:mbrEntryLen]
		start, n := binary.LittleEndian.Uint32(e[mbrStart:]), binary.LittleEndian.Uint32(e[mbrLen:])
		all := n == math.MaxUint32 || uint64(start)+uint64(n) == was+1
		if e[mbrKind] == protective && start == 1 && all {
			binary.LittleEndian.PutUint32(e[mbrLen:], uint32(min(last, math.MaxUint32)))
		}
	}
	return mbr
}

func hasMBR(sector []byte) bool {
	return len(sector) >= 512 && sector[510] == 0x55 && sector[511] == 0xaa
}

// EndOfMBR returns where the last partition of an MBR ends, in bytes, by its first sector; false where that is no table: the
// first sector of a file system looks like one at first glance. An extended partition counts with all that is in it, and the
// entry that stands for a GUID partition table does not.
func EndOfMBR(first []byte, sector int64) (end int64, ok bool) {
	if !hasMBR(first) {
		return 0, false
	}
	for i := range 4 {
		e := first[mbrEntries+i*mbrEntryLen:][:mbrEntryLen]
		start, n := int64(binary.LittleEndian.Uint32(e[mbrStart:])), int64(binary.LittleEndian.Uint32(e[mbrLen:]))
		switch {
		case e[0]&0x7f != 0:
			return 0, false
		case e[mbrKind] == 0 && n == 0, e[mbrKind] == protective:
			continue
		case e[mbrKind] == 0 || n == 0 || start == 0:
			return 0, false
		}
		end, ok = max(end, (start+n)*sector), true
	}
	return end, ok
}
