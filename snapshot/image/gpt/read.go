package gpt

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Read reads the first copy of the table of a disk of size bytes. sector is the length of the disk's sectors in
// bytes, or 0 if unknown; Read tries other lengths too. The error wraps ErrNone, ErrUnused if the table is left over
// from an earlier use of the disk, ErrDamaged, or the disk's error.
func Read(disk io.ReaderAt, size, sector int64) (*Table, error) {
	var wrong error
	found := false
	for _, sector := range Sectors(sector) {
		if 2*sector > size {
			continue
		}
		t, err := ReadCopy(disk, 1, sector)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err == nil {
			err = t.holds(size)
		}
		switch {
		case errors.Is(err, ErrDamaged): // perhaps left over from a table for sectors of another length
			wrong = cmp.Or(wrong, fmt.Errorf("%w: %w", ErrDamaged, err))
		case err != nil:
			return nil, err
		default:
			return t.inUse(disk)
		}
		found = true
	}
	first, err := firstSector(disk)
	switch {
	case err != nil:
		return nil, err
	case IsProtective(first) && found:
		return nil, wrong
	case IsProtective(first):
		return nil, fmt.Errorf("%w: its first copy is missing", ErrDamaged)
	case found:
		return nil, ErrUnused
	}
	return nil, ErrNone
}

// Sectors returns the sector lengths, in bytes, that a table may count in, the likeliest first. That is sector, if it
// is a valid length.
func Sectors(sector int64) []int64 {
	likely := []int64{512, 4096, 2048}
	if sector < 512 || sector > 4096 || sector&(sector-1) != 0 {
		return likely
	}
	return append([]int64{sector}, slices.DeleteFunc(likely, func(s int64) bool { return s == sector })...)
}

// inUse adds the first sector to a table. Without a protective MBR in it, the table is not in use.
func (t *Table) inUse(disk io.ReaderAt) (*Table, error) {
	t.mbr = make([]byte, t.Sector)
	if _, err := readFull(disk, t.mbr, 0, t.Sector); err != nil {
		return nil, err
	}
	if !IsProtective(t.mbr) {
		return nil, ErrUnused
	}
	return t, nil
}

// firstSector reads the 512 bytes of an MBR.
func firstSector(disk io.ReaderAt) ([]byte, error) {
	first := make([]byte, 512)
	_, err := readFull(disk, first, 0, int64(len(first)))
	return first, err
}
