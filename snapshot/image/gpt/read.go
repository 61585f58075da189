package gpt

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Read reads the first table of a disk of size bytes, for sectors of a length in bytes or of another; 0 where nobody knows.
// The error wraps ErrNone, and ErrUnused where the table is one of an earlier life of the disk; ErrDamaged; or that of disk.
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
		case errors.Is(err, ErrDamaged): // and may be left of a table for sectors of another length
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
		return nil, fmt.Errorf("%w: the first copy of it is not there", ErrDamaged)
	case found:
		return nil, ErrUnused
	}
	return nil, ErrNone
}

// Sectors are the lengths of sectors, in bytes, that a table may count in, the likeliest first: sector, if it is one that
// there is.
func Sectors(sector int64) []int64 {
	likely := []int64{512, 4096, 2048}
	if sector < 512 || sector > 4096 || sector&(sector-1) != 0 {
		return likely
	}
	return append([]int64{sector}, slices.DeleteFunc(likely, func(s int64) bool { return s == sector })...)
}

// inUse adds the first sector to a table, without which it is not in use.
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

// firstSector reads as much as an MBR takes.
func firstSector(disk io.ReaderAt) ([]byte, error) {
	first := make([]byte, 512)
	_, err := readFull(disk, first, 0, int64(len(first)))
	return first, err
}
