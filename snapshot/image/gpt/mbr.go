package gpt

import (
	"bytes"
	"encoding/binary"
	"math"
)

// An MBREntry is one of the four partition entries of a boot sector: of an MBR, or of one in the chain of an extended
// partition.
//
//	 0      1         4      5         8       12
//	+------+---------+------+---------+-------+--------+
//	| boot | first   | type | last    | first | count  |
//	| u8   | CHS     | u8   | CHS     | u32   | u32    |
//	+------+---------+------+---------+-------+--------+
type MBREntry struct {
	Boot, Type   byte
	First, Count uint32 // sectors
}

const (
	mbrEntries    = 446 // offset in the boot sector, bytes
	mbrEntryLen   = 16  // bytes
	mbrType       = 4   // this and the next two: offsets in the entry, bytes
	mbrFirst      = 8
	mbrCount      = 12
	mbrProtective = 0xee
)

// IsBootSector reports whether a sector has the signature of a boot sector.
func IsBootSector(sector []byte) bool {
	return len(sector) >= 512 && sector[510] == 0x55 && sector[511] == 0xaa
}

// MBREntries returns the entries of a boot sector. It does not check the signature.
func MBREntries(sector []byte) (entries [4]MBREntry) {
	le := binary.LittleEndian
	for i := range entries {
		e := sector[mbrEntries+mbrEntryLen*i:][:mbrEntryLen]
		entries[i] = MBREntry{Boot: e[0], Type: e[mbrType], First: le.Uint32(e[mbrFirst:]), Count: le.Uint32(e[mbrCount:])}
	}
	return entries
}

// IsEmpty reports whether the entry is unused. As for Linux, its type does not matter.
func (e MBREntry) IsEmpty() bool { return e.Count == 0 }

// IsExtended reports whether the entry is of an extended partition, which holds the logical ones.
func (e MBREntry) IsExtended() bool { return e.Type == 0x05 || e.Type == 0x0f || e.Type == 0x85 }

// IsGPT reports whether the entry has the type that a protective MBR uses for a GUID partition table.
func (e MBREntry) IsGPT() bool { return e.Type == mbrProtective }

// isProtective reports whether the entry stands for a GUID partition table. It must cover sector 1; its length is often
// wrong.
func (e MBREntry) isProtective() bool {
	return e.IsGPT() && (e.First == 1 || e.First == 0 && e.Count > 1)
}

// end returns the sector after the partition.
func (e MBREntry) end() int64 { return int64(e.First) + int64(e.Count) }

// protective returns the first sector with its protective entry extended to the last sector. It leaves any other entry
// unchanged, such as one on a disk that old systems boot from.
func (t *Table) protective(last uint64) []byte {
	mbr := bytes.Clone(t.mbr)
	if !IsBootSector(mbr) {
		return mbr
	}
	for i, e := range MBREntries(mbr) {
		wholeDisk := e.Count == math.MaxUint32 || uint64(e.end()) == t.Other()+1
		if e.IsGPT() && e.First == 1 && wholeDisk {
			binary.LittleEndian.PutUint32(mbr[mbrEntries+mbrEntryLen*i+mbrCount:], uint32(min(last, math.MaxUint32)))
		}
	}
	return mbr
}

// IsProtective reports whether the first sector of a disk is a protective MBR: one with an entry for the sector in which
// a GUID partition table begins. Linux, firmware and blkid use such a table only with a protective MBR. Any other MBR,
// written over the first sector of an older table, takes that table out of use, although both its copies may be intact.
func IsProtective(first []byte) bool {
	if !IsBootSector(first) {
		return false
	}
	for _, e := range MBREntries(first) {
		if e.isProtective() {
			return true
		}
	}
	return false
}

// hybridEnd returns the end, in bytes, of the last partition that an MBR has besides the GUID partition table.
func hybridEnd(first []byte, sector int64) (end int64) {
	if !IsBootSector(first) {
		return 0
	}
	for _, e := range MBREntries(first) {
		if e.Type != 0 && !e.IsGPT() {
			end = max(end, e.end()*sector)
		}
	}
	return end
}

// EndOfMBR returns the end, in bytes, of the last partition of an MBR, given a disk's first sector. It returns false if
// that holds no table: the first sector of a file system resembles an MBR. An extended partition counts with everything
// in it. An entry that stands for a GUID partition table does not count.
func EndOfMBR(first []byte, sector int64) (end int64, ok bool) {
	if !IsBootSector(first) {
		return 0, false
	}
	for _, e := range MBREntries(first) {
		switch {
		case e.Boot&0x7f != 0:
			return 0, false
		case e.Type == 0 && e.IsEmpty(), e.isProtective():
		case e.Type == 0 || e.IsEmpty() || e.First == 0:
			return 0, false
		default:
			end, ok = max(end, e.end()*sector), true
		}
	}
	return end, ok
}
