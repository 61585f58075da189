package virtual

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Limits of the table of snapshots, the same as QEMU's.
const (
	maxQcowSnapshots   = 65536
	maxQcowSnapshotLen = 64 << 20 // bytes of the table
	maxQcowExtraLen    = 1024     // bytes of an entry's extra data
	qcowSnapshotLen    = 40       // bytes of an entry before its variable parts
	qcowNamesShown     = 20
)

// A qcowSnapshot is a saved state of the disk in the same file.
type qcowSnapshot struct {
	id, name string
	l1       uint64
	l1Len    uint32 // entries
	size     uint64 // of the disk, in bytes
}

// useSnapshot makes the header that of an internal snapshot, which has its own L1 table and size.
func (h *qcowHeader) useSnapshot(r io.ReaderAt, want string) error {
	all, err := h.readSnapshots(r)
	if err != nil {
		return err
	}
	var found []qcowSnapshot
	var names []string
	for _, s := range all {
		if s.id == want || s.name == want {
			found = append(found, s)
		}
		if len(names) < qcowNamesShown {
			names = append(names, fmt.Sprintf("%q (number %q)", s.name, s.id))
		}
	}
	switch {
	case len(all) == 0:
		return fmt.Errorf("no snapshot %q in it: it has none", want)
	case len(found) == 0 && len(all) > len(names):
		return fmt.Errorf("no snapshot %q in it: it has %s and %d more", want, strings.Join(names, ", "), len(all)-len(names))
	case len(found) == 0:
		return fmt.Errorf("no snapshot %q in it: it has %s", want, strings.Join(names, ", "))
	case len(found) > 1:
		return fmt.Errorf("%d snapshots in it are named %q: use a number; see qemu-img snapshot -l", len(found), want)
	}
	s := found[0]
	if s.l1>>63 != 0 || s.size>>63 != 0 {
		return fmt.Errorf("%w: snapshot %q is a disk of %d bytes whose L1 table is at byte %d", ErrDamaged, want, s.size, s.l1)
	}
	h.l1, h.l1Len, h.size = int64(s.l1), int64(s.l1Len), int64(s.size)
	return nil
}

func (h *qcowHeader) readSnapshots(r io.ReaderAt) ([]qcowSnapshot, error) {
	if h.snapshotCount > maxQcowSnapshots {
		return nil, fmt.Errorf("%w: %d snapshots, want at most %d", ErrDamaged, h.snapshotCount, maxQcowSnapshots)
	}
	in := bufio.NewReader(io.NewSectionReader(r, h.snapshots, maxQcowSnapshotLen))
	var all []qcowSnapshot
	for i := range h.snapshotCount {
		s, err := h.readSnapshot(in)
		if err != nil {
			return nil, fmt.Errorf("read snapshot %d of %d: %w", i+1, h.snapshotCount, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// readSnapshot reads an entry, including its padding to a multiple of 8 bytes:
//
//	0 u64 L1 table   8 u32 its entries   12 u16 length of the id   14 u16 of the name   16 time, state of the machine
//	36 u32 length of the extra data   40 extra data: u64 state of the machine, u64 size of the disk; id; name
func (h *qcowHeader) readSnapshot(in *bufio.Reader) (qcowSnapshot, error) {
	fixed := make([]byte, qcowSnapshotLen)
	if _, err := io.ReadFull(in, fixed); err != nil {
		return qcowSnapshot{}, qcowCutOff(err)
	}
	idLen, nameLen := int(binary.BigEndian.Uint16(fixed[12:])), int(binary.BigEndian.Uint16(fixed[14:]))
	extraLen := binary.BigEndian.Uint32(fixed[36:])
	if extraLen > maxQcowExtraLen {
		return qcowSnapshot{}, fmt.Errorf("%w: %d bytes of extra data, want at most %d", ErrDamaged, extraLen, maxQcowExtraLen)
	}
	rest := make([]byte, (int(extraLen)+idLen+nameLen+7)/8*8)
	if n, err := io.ReadFull(in, rest); n < int(extraLen)+idLen+nameLen {
		return qcowSnapshot{}, qcowCutOff(err)
	}
	extra, id, name := rest[:extraLen], rest[extraLen:][:idLen], rest[int(extraLen)+idLen:][:nameLen]
	s := qcowSnapshot{id: string(id), name: string(name), size: uint64(h.size)}
	s.l1, s.l1Len = binary.BigEndian.Uint64(fixed), binary.BigEndian.Uint32(fixed[8:])
	if len(extra) >= 16 { // version 2 has no sizes: all were the same
		s.size = binary.BigEndian.Uint64(extra[8:])
	}
	return s, nil
}

// qcowCutOff turns the error of a table that ends early into ErrDamaged.
func qcowCutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: the table of snapshots is truncated", ErrDamaged)
	}
	return err
}
