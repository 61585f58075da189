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
		e := entry(mbr, i)
		all := e.len() == math.MaxUint32 || uint64(e.start()+e.len()) == was+1
		if e[mbrKind] == protective && e.start() == 1 && all {
			binary.LittleEndian.PutUint32(e[mbrLen:], uint32(min(last, math.MaxUint32)))
		}
	}
	return mbr
}

// IsProtective reports whether the first sector of a disk says that a GUID partition table is in use: whether it is an MBR with
// an entry for the sector in which that table begins. Linux, firmware and blkid look for a table behind no other. An MBR that
// was written over the first sector of an older table leaves that out of use, though both its copies may be whole.
func IsProtective(first []byte) bool {
	if !hasMBR(first) {
		return false
	}
	for i := range 4 {
		if entry(first, i).isProtective() {
			return true
		}
	}
	return false
}

// An mbrEntry is one of the four of an MBR.
type mbrEntry []byte

func entry(first []byte, i int) mbrEntry { return first[mbrEntries+i*mbrEntryLen:][:mbrEntryLen] }

func (e mbrEntry) start() int64 { return int64(binary.LittleEndian.Uint32(e[mbrStart:])) }
func (e mbrEntry) len() int64   { return int64(binary.LittleEndian.Uint32(e[mbrLen:])) }

// isProtective reports whether the entry stands for a GUID partition table. It has to cover sector 1; how long it is, is often
// wrong.
func (e mbrEntry) isProtective() bool {
	return e[mbrKind] == protective && (e.start() == 1 || e.start() == 0 && e.len() > 1)
}

// hybridEnd returns where the last of the partitions ends that an MBR has besides the GUID partition table, in bytes.
func hybridEnd(first []byte, sector int64) (end int64) {
	if !hasMBR(first) {
		return 0
	}
	for i := range 4 {
		if e := entry(first, i); e[mbrKind] != 0 && e[mbrKind] != protective {
			end = max(end, (e.start()+e.len())*sector)
		}
	}
	return end
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
		e := entry(first, i)
		switch start, n := e.start(), e.len(); {
		case e[0]&0x7f != 0:
			return 0, false
		case e[mbrKind] == 0 && n == 0, e.isProtective():
		case e[mbrKind] == 0 || n == 0 || start == 0:
			return 0, false
		default:
			end, ok = max(end, (start+n)*sector), true
		}
	}
	return end, ok
}
