package gpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Moved returns the writes that move the table to a disk of size bytes. All of second must be durable before any of
// first is written. Until then the disk has its old table, and afterwards the new one, each of them valid.
func (t *Table) Moved(size int64) (second, first []Write, err error) {
	if size < t.Smallest() {
		return nil, nil, fmt.Errorf("the disk is too small for its partitions: it has %d bytes, and they need %d", size, t.Smallest())
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
