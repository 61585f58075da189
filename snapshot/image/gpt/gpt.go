// Package gpt reads GUID partition tables, and moves them when a disk's size changes.
//
// A disk holds its table twice: a header in sector 1 with the partitions after it, and a second header in the last
// sector with the same partitions before it. So a table does not fit a disk of another size without a change.
//
// Its promise: both checksums of a returned table are right. The writes that Moved returns leave a valid table on the
// disk if the power fails at any moment, provided that the sector with the header is written whole or not at all.
package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
)

var (
	// ErrNone means that a disk has no GUID partition table.
	ErrNone = errors.New("no GUID partition table")
	// ErrUnused means that a disk has a table that no system uses. It wraps ErrNone.
	ErrUnused = fmt.Errorf("%w in use", ErrNone)
	// ErrDamaged means that a disk's table is damaged.
	ErrDamaged = errors.New("its GUID partition table is damaged")
)

// damage says what is wrong with a table. It matches ErrDamaged.
type damage string

func (d damage) Error() string   { return string(d) }
func (damage) Is(err error) bool { return err == ErrDamaged }

func damaged(format string, args ...any) error { return damage(fmt.Sprintf(format, args...)) }

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
	atID          = 56
	atEntries     = 72
	atCount       = 80
	atEntrySize   = 84
	atEntriesSum  = 88
	headerLen     = 92
)

// An entry; its type is zero if it is unused:
//
//	+-----------+-------------+-----------+----------+------------+--------------+
//	| type      | partition's | first     | last     | attributes | name, 36     |
//	| GUID      | GUID        | LBA, u64  | LBA, u64 | u64        | UTF-16 units |
//	+-----------+-------------+-----------+----------+------------+--------------+
const (
	minEntry   = 128     // bytes
	maxEntries = 4 << 20 // bytes of all entries, the limit of Linux; 16 KiB are usual
	maxSector  = 1 << 50 // far beyond any disk; byte offsets up to there do not overflow
	maxOff     = 1 << 62 // bytes; the same limit for sectors of any length
	atGUID     = 16
	atFirst    = 32
	atLast     = 40
	atFlags    = 48
	atName     = 56
)

// A Table is one copy of a disk's table. Only Read checks that its partitions are plausible and that it can be moved.
type Table struct {
	Sector  int64  // bytes
	mbr     []byte // the first sector, a protective MBR; only Read reads it
	header  []byte // the whole sector
	entries []byte
}

// An Entry is a partition as the table describes it, without any checks.
type Entry struct {
	Number      int      // from 1 on
	Type, ID    [16]byte // GUIDs, whose first three numbers are little-endian
	First, Last uint64   // sectors
	Attributes  uint64
	Name        []byte // little-endian UTF-16, padded with zeros
}

// A Partition is a partition's place on the disk.
type Partition struct {
	Number   int // from 1 on
	Off, Len int64
}

// A Write is bytes to be written to a disk.
type Write struct {
	Off  int64
	Data []byte
}

// ReadCopy reads the table whose header is in sector lba, on a disk whose sectors have at least 512 bytes. The error
// wraps ErrNone, or ErrDamaged with a text that says only what is wrong, or the disk's error.
func ReadCopy(disk io.ReaderAt, lba uint64, sector int64) (*Table, error) {
	t := &Table{Sector: sector, header: make([]byte, sector)}
	ok, err := readFull(disk, t.header, lba, sector)
	if err != nil {
		return nil, err
	}
	if !ok || string(t.header[:len(signature)]) != signature {
		return nil, ErrNone
	}
	length := t.u32(atLength)
	if length < headerLen || int64(length) > sector {
		return nil, damaged("its header claims to be %d bytes long", length)
	}
	if sum(t.header[:length], atSum) != t.u32(atSum) {
		return nil, damaged("the checksum of its header is wrong")
	}
	if own := t.u64(atOwn); own != lba {
		return nil, damaged("it is in sector %[2]d and says that it belongs in sector %[1]d", own, lba)
	}
	count, entry := uint64(t.u32(atCount)), uint64(t.u32(atEntrySize))
	if entry < minEntry || entry%8 != 0 || count == 0 || count*entry > maxEntries {
		return nil, damaged("it claims to have %d entries of %d bytes", count, entry)
	}
	t.entries = make([]byte, count*entry)
	if ok, err := readFull(disk, t.entries, t.u64(atEntries), sector); err != nil {
		return nil, err
	} else if !ok {
		return nil, damaged("its entries cannot be read")
	}
	if crc32.ChecksumIEEE(t.entries) != t.u32(atEntriesSum) {
		return nil, damaged("the checksum of its entries is wrong")
	}
	return t, nil
}

// readFull fills p from a sector on. ok is false if the disk ends before that.
func readFull(disk io.ReaderAt, p []byte, lba uint64, sector int64) (ok bool, err error) {
	if lba > uint64(maxOff/sector) {
		return false, nil
	}
	switch n, err := disk.ReadAt(p, int64(lba)*sector); {
	case n == len(p):
		return true, nil
	case err == io.EOF: // a wrapped EOF does not count: a pack may end early, which says nothing about the disk
		return false, nil
	default:
		return false, fmt.Errorf("read partition table: %w", err)
	}
}

// holds returns an error if the table contradicts itself or a disk of size bytes.
func (t *Table) holds(size int64) error {
	at, usable := t.u64(atEntries), t.u64(atFirstUsable)
	if usable > uint64(size/t.Sector) {
		return damaged("its first usable sector is %d", usable)
	}
	if at < 2 || at > uint64(size/t.Sector) || int64(at)*t.Sector+int64(len(t.entries)) > size {
		return damaged("its entries are in sector %d", at)
	}
	for e := range t.Entries() {
		if e.First < 2 || e.Last < e.First || e.Last >= maxSector {
			return damaged("it has a partition from sector %d to %d", e.First, e.Last)
		}
	}
	return nil
}

// sum returns the CRC-32 of a header, in which the sum itself counts as zero.
func sum(header []byte, at int) uint32 {
	p := bytes.Clone(header)
	clear(p[at:][:4])
	return crc32.ChecksumIEEE(p)
}

func (t *Table) u32(at int) uint32 { return binary.LittleEndian.Uint32(t.header[at:]) }
func (t *Table) u64(at int) uint64 { return binary.LittleEndian.Uint64(t.header[at:]) }

// ID returns the disk's GUID, whose first three numbers are little-endian.
func (t *Table) ID() [16]byte { return [16]byte(t.header[atID:]) }

// Other returns the sector of the other copy's header, which may be outside the disk.
func (t *Table) Other() uint64 { return t.u64(atOther) }

// IsLike reports whether another copy has the same disk GUID and partitions.
func (t *Table) IsLike(other *Table) bool {
	return t.ID() == other.ID() && bytes.Equal(t.entries, other.entries)
}

// Entries yields the used entries in order.
func (t *Table) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		size, u64 := int(t.u32(atEntrySize)), binary.LittleEndian.Uint64
		for i := 0; i*size < len(t.entries); i++ {
			e := t.entries[i*size:][:size]
			kind := [16]byte(e)
			if kind != [16]byte{} && !yield(Entry{i + 1, kind, [16]byte(e[atGUID:]), u64(e[atFirst:]), u64(e[atLast:]), u64(e[atFlags:]), e[atName:minEntry]}) {
				return
			}
		}
	}
}

// Last returns the partition with the highest end, and false if there is none.
func (t *Table) Last() (p Partition, ok bool) {
	for e := range t.Entries() {
		off, end := int64(e.First)*t.Sector, int64(e.Last+1)*t.Sector
		if !ok || end > p.Off+p.Len {
			p, ok = Partition{e.Number, off, end - off}, true
		}
	}
	return p, ok
}

// entrySectors returns the number of sectors that the entries fill.
func (t *Table) entrySectors() int64 { return (int64(len(t.entries)) + t.Sector - 1) / t.Sector }

// Smallest returns the size in bytes of the smallest disk that has room for all partitions, including those of a
// hybrid MBR, and for the second copy.
func (t *Table) Smallest() int64 {
	end := max(int64(t.u64(atFirstUsable))+1, int64(t.u64(atEntries))+t.entrySectors()) * t.Sector
	if p, ok := t.Last(); ok {
		end = max(end, p.Off+p.Len)
	}
	end = max(end, hybridEnd(t.mbr, t.Sector))
	return end + t.Room()
}

// Room returns the length of the second copy in bytes; it is at the end of the disk.
func (t *Table) Room() int64 { return (t.entrySectors() + 1) * t.Sector }

// IsAtEnd reports whether the second copy is in its proper place on a disk of size bytes.
func (t *Table) IsAtEnd(size int64) bool { return t.Other() == uint64(size/t.Sector-1) }
