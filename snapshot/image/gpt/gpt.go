// Package gpt reads GUID partition tables, and moves them to where a disk of another size ends.
//
// Such a table lies on a disk twice: a header in sector 1 with the partitions behind it, and a second header in the last
// sector with the same partitions before it. So it does not survive a change of the disk's size as it is.
//
// Its promise: a table that Read returned is whole, by both its checksums; and what Moved says to write leaves a valid table
// on the disk whenever the power fails, as far as the sector with the header is written whole or not at all.
package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

var (
	// ErrNone says that a disk has no GUID partition table.
	ErrNone = errors.New("no GUID partition table")
	// ErrDamaged says that it has one that is not whole.
	ErrDamaged = errors.New("its GUID partition table is damaged")
)

// A header, little-endian, at the start of its sector; the rest of the sector is zeros:
//
//	+------------+---------+--------+--------+----------+---------+---------+-------------+------------+-------------+
//	| "EFI PART" | version | length | CRC-32 | reserved | own LBA | other's | first usable| last usable| disk's GUID |
//	| 8 bytes    | u32     | u32    | u32    | u32      | u64     | LBA u64 | LBA u64     | LBA u64    | 16 bytes    |
//	+------------+---------+--------+--------+----------+---------+---------+-------------+------------+-------------+
//	| entries'   | number  | size   | CRC-32 of the   |
//	| LBA u64    | u32     | u32    | entries, u32    |
//	+------------+---------+--------+-----------------+
const (
	signature = "EFI PART"

	atLength      = 12
	atSum         = 16
	atOwn         = 24
	atOther       = 32
	atFirstUsable = 40
	atLastUsable  = 48
	atEntries     = 72
	atCount       = 80
	atEntrySize   = 84
	atEntriesSum  = 88
	headerLen     = 92
)

// An entry begins with the type's GUID, zero for one that is not used, the partition's GUID, and its first and last sector.
const (
	minEntry   = 128     // bytes
	maxEntries = 4 << 20 // bytes of all entries; 16 KiB are usual
	maxSector  = 1 << 50 // far beyond any disk, and bytes up to there can be counted
	atFirst    = 32
	atLast     = 40
)

// A Table is the first of the two, and the sector before it, which says in the old way that the disk is taken.
type Table struct {
	Sector  int64 // bytes
	mbr     []byte
	header  []byte // all of the sector
	entries []byte
}

// A Partition is one of a table.
type Partition struct {
	Number   int // from 1 on
	Off, Len int64
}

// A Write is bytes to be written to a disk.
type Write struct {
	Off  int64
	Data []byte
}

// Read reads the table of a disk of size bytes, whatever its sectors. The error wraps ErrNone, ErrDamaged or that of disk.
func Read(disk io.ReaderAt, size int64) (*Table, error) {
	for _, sector := range []int64{512, 4096} {
		head := make([]byte, len(signature))
		if 2*sector > size {
			break
		}
		if _, err := disk.ReadAt(head, sector); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read partition table: %w", err)
		}
		if string(head) == signature {
			return read(disk, size, sector)
		}
	}
	return nil, ErrNone
}

func read(disk io.ReaderAt, size, sector int64) (*Table, error) {
	head := make([]byte, 2*sector)
	if err := readFull(disk, head, 0); err != nil {
		return nil, err
	}
	t := &Table{Sector: sector, mbr: head[:sector:sector], header: head[sector:]}
	length := t.u32(atLength)
	if length < headerLen || int64(length) > sector || sum(t.header[:length], atSum) != t.u32(atSum) || t.u64(atOwn) != 1 {
		return nil, fmt.Errorf("%w: the header in sector 1 does not hold", ErrDamaged)
	}
	count, entry, at := uint64(t.u32(atCount)), uint64(t.u32(atEntrySize)), t.u64(atEntries)
	switch {
	case entry < minEntry || entry%8 != 0 || count == 0 || entry > maxEntries || count*entry > maxEntries:
		return nil, fmt.Errorf("%w: %d entries of %d bytes", ErrDamaged, count, entry)
	case t.u64(atFirstUsable) > uint64(size/sector):
		return nil, fmt.Errorf("%w: its first usable sector is %d", ErrDamaged, t.u64(atFirstUsable))
	case at < 2 || at > uint64(size/sector) || int64(at)*sector+int64(count*entry) > size:
		return nil, fmt.Errorf("%w: entries in sector %d", ErrDamaged, at)
	}
	t.entries = make([]byte, count*entry)
	if err := readFull(disk, t.entries, int64(at)*sector); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(t.entries) != t.u32(atEntriesSum) {
		return nil, fmt.Errorf("%w: the entries do not hold", ErrDamaged)
	}
	for _, e := range t.all() {
		if e.first < 2 || e.last < e.first || e.last >= maxSector {
			return nil, fmt.Errorf("%w: a partition from sector %d to %d", ErrDamaged, e.first, e.last)
		}
	}
	return t, nil
}

func readFull(disk io.ReaderAt, p []byte, off int64) error {
	if n, err := disk.ReadAt(p, off); n < len(p) {
		return fmt.Errorf("read partition table: %w", err)
	}
	return nil
}

// sum is the CRC-32 of a header, in which the sum itself counts as zero.
func sum(header []byte, at int) uint32 {
	p := bytes.Clone(header)
	clear(p[at:][:4])
	return crc32.ChecksumIEEE(p)
}

func (t *Table) u32(at int) uint32 { return binary.LittleEndian.Uint32(t.header[at:]) }
func (t *Table) u64(at int) uint64 { return binary.LittleEndian.Uint64(t.header[at:]) }

// An entry is a partition, in sectors.
type entry struct {
	number      int
	first, last uint64
}

func (t *Table) all() (all []entry) {
	size := int(t.u32(atEntrySize))
	for i := 0; i*size < len(t.entries); i++ {
		e := t.entries[i*size:][:size]
		if !bytes.Equal(e[:16], make([]byte, 16)) {
			all = append(all, entry{i + 1, binary.LittleEndian.Uint64(e[atFirst:]), binary.LittleEndian.Uint64(e[atLast:])})
		}
	}
	return all
}

// Last returns the partition that ends last; false where there is none.
func (t *Table) Last() (p Partition, ok bool) {
	for _, e := range t.all() {
		off, end := int64(e.first)*t.Sector, int64(e.last+1)*t.Sector
		if !ok || end > p.Off+p.Len {
			p, ok = Partition{e.number, off, end - off}, true
		}
	}
	return p, ok
}

// entrySectors is how many sectors the entries take.
func (t *Table) entrySectors() int64 { return (int64(len(t.entries)) + t.Sector - 1) / t.Sector }

// Smallest returns the size in bytes of the smallest disk that has room for all partitions and the second table.
func (t *Table) Smallest() int64 {
	end := max(int64(t.u64(atFirstUsable))+1, int64(t.u64(atEntries))+t.entrySectors()) * t.Sector
	if p, ok := t.Last(); ok {
		end = max(end, p.Off+p.Len)
	}
	return end + (t.entrySectors()+1)*t.Sector
}

// IsAtEnd reports whether the second table is where it belongs on a disk of size bytes.
func (t *Table) IsAtEnd(size int64) bool { return t.u64(atOther) == uint64(size/t.Sector-1) }
