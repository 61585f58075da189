package overlay

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"
)

// An overlay's file is a sequence of units of 4096 bytes:
//
//	 0        1        2                               end
//	+--------+--------+--------+--------+--------+- - -+
//	| header | header | journal, blocks, and unused units |
//	+--------+--------+--------+--------+--------+- - -+
//
// The two headers are copies. All integers are unsigned and little-endian. A header is
//
//	 0       16        20     24       32        64     72        80      88      96      128   160    4096
//	+-------+---------+------+--------+---------+------+---------+-------+-------+-------+-----+- - - -+
//	| magic | version | unit | number | binding | size | journal | spare | len   | nonce | sum | zeros |
//	| 16    | u32     | u32  | u64    | 32      | u64  | u64     | u64   | u64   | 32    | 32  |       |
//	+-------+---------+------+--------+---------+------+---------+-------+-------+-------+-----+- - - -+
//
// Unit is 4096. The number grows by one each time that a journal begins. Size is the disk's, in bytes. The journal and
// its spare begin at these units, and have len units each. The nonce is random and new for each journal. The sum is the
// BLAKE3 of the 128 bytes before it.
//
// A new header is written over the first copy, synced, written over the second one, and synced. Only then are the units
// of the old journal used for anything else. So at least one copy is whole at any moment. If both are, the one with the
// higher number counts.
const (
	unit    = 4096 // bytes, of the disk and of the file
	version = 1
	headers = 2 // units
	summed  = 128
	magic   = "platter overlay\x00"
)

// A Binding names the base of an overlay. It is opaque to this package: a hash of the snapshot's ID and the
// repository's ID, for example.
type Binding [32]byte

type header struct {
	number  uint64
	binding Binding
	size    int64 // of the disk, in bytes
	at      int64 // of the journal, in units
	spare   int64 // of its spare, in units
	len     int64 // of each, in units
	nonce   [32]byte
}

func (h *header) encode() []byte {
	p := make([]byte, unit)
	copy(p, magic)
	binary.LittleEndian.PutUint32(p[16:], version)
	binary.LittleEndian.PutUint32(p[20:], unit)
	binary.LittleEndian.PutUint64(p[24:], h.number)
	copy(p[32:], h.binding[:])
	binary.LittleEndian.PutUint64(p[64:], uint64(h.size))
	binary.LittleEndian.PutUint64(p[72:], uint64(h.at))
	binary.LittleEndian.PutUint64(p[80:], uint64(h.spare))
	binary.LittleEndian.PutUint64(p[88:], uint64(h.len))
	copy(p[96:], h.nonce[:])
	sum := blake3.Sum256(p[:summed])
	copy(p[summed:], sum[:])
	return p
}

// decodeHeader decodes one copy, of a file of so many units. The error wraps ErrDamaged or ErrNewer.
func decodeHeader(p []byte, units int64) (*header, error) {
	if len(p) < unit || string(p[:16]) != magic {
		return nil, fmt.Errorf("%w: it has no header", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint32(p[16:]); v > version {
		return nil, fmt.Errorf("%w (version %d)", ErrNewer, v)
	}
	if blake3.Sum256(p[:summed]) != [32]byte(p[summed:]) {
		return nil, fmt.Errorf("%w: its header does not match its checksum", ErrDamaged)
	}
	h := &header{
		number:  binary.LittleEndian.Uint64(p[24:]),
		binding: Binding(p[32:]),
		size:    int64(binary.LittleEndian.Uint64(p[64:])),
		at:      int64(binary.LittleEndian.Uint64(p[72:])),
		spare:   int64(binary.LittleEndian.Uint64(p[80:])),
		len:     int64(binary.LittleEndian.Uint64(p[88:])),
		nonce:   [32]byte(p[96:]),
	}
	if binary.LittleEndian.Uint32(p[16:]) != version || binary.LittleEndian.Uint32(p[20:]) != unit || h.size < 0 || h.size > maxSize {
		return nil, fmt.Errorf("%w: its header has impossible values", ErrDamaged)
	}
	if min(h.at, h.spare) < headers || h.len <= 0 || max(h.at, h.spare) > units || h.len > units-max(h.at, h.spare) {
		return nil, fmt.Errorf("%w: its journal is not in the file: was the file truncated?", ErrDamaged)
	}
	return h, nil
}

// readHeader returns the header that counts, and whether both copies are it.
func readHeader(f file, units int64) (h *header, both bool, err error) {
	var copies [headers]*header
	var errs [headers]error
	for i := range copies {
		p := make([]byte, unit)
		if errs[i] = readFull(f, p, int64(i)*unit); errs[i] == nil {
			copies[i], errs[i] = decodeHeader(p, units)
		} else if units < headers {
			errs[i] = fmt.Errorf("%w: it ends within its header", ErrDamaged)
		}
	}
	switch a, b := copies[0], copies[1]; {
	case errors.Is(errs[0], ErrNewer) || errors.Is(errs[1], ErrNewer) && a == nil:
		return nil, false, errors.Join(errs[:]...)
	case a == nil && b == nil:
		return nil, false, errs[0]
	case a == nil || b != nil && b.number > a.number:
		return b, false, nil
	default:
		return a, b != nil && *a == *b, nil
	}
}

// writeHeader writes one copy after the other. After an error it is uncertain which header counts, so no later sync
// succeeds.
func writeHeader(f *strictFile, h *header) error {
	p := h.encode()
	for i := range int64(headers) {
		if _, err := f.WriteAt(p, i*unit); err != nil {
			return f.fail(fmt.Errorf("write the header: %w", err))
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}
