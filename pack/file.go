package pack

import (
	"encoding/binary"
	"fmt"
)

// A pack file, from its first byte to its last:
//
//	+--------+-------+-------+- - -+--------------+---------------------+----------+
//	| header | frame | frame |  …  | sealed table | sealed table length | tailMark |
//	| 12     |       |       |     |              | 44                  | 8        |
//	+--------+-------+-------+- - -+--------------+---------------------+----------+
//
// Each seal is a nonce (24 bytes), ciphertext, and a tag (16 bytes). The sealed table's length is a u32 in bytes. It
// is sealed because it would reveal where the frames end. Inside its seal, zeros follow the table, so that the file's
// length is a multiple of align.
const (
	tailSize = sealing + 4 + 8
	tailMark = "platterT"
	align    = 4096
)

// A Builder assembles one pack file. It is not safe for concurrent use.
type Builder struct {
	file  []byte
	table Table
}

// NewBuilder starts a pack in buf's memory.
func NewBuilder(buf []byte) *Builder {
	return &Builder{file: append(buf[:0], Header(PackFile)...)}
}

// Add appends a frame that an Encoder sealed from o.
func (b *Builder) Add(o *Open, sealed []byte) {
	b.file = append(b.file, sealed...)
	b.table.Frames = append(b.table.Frames, Frame{o.Kind, uint32(len(sealed)), uint32(len(o.Raw)), uint32(len(o.Chunks))})
	b.table.Chunks = append(b.table.Chunks, o.Chunks...)
}

// Size returns the length in bytes of the header, the frames and the table so far.
func (b *Builder) Size() int64 { return int64(len(b.file) + b.table.EncodedSize()) }

// Full reports whether the pack has reached size bytes, or its table the maximum. Without that maximum, a pack of
// tiny, highly compressible chunks could exceed the readers' limit for a table.
func (b *Builder) Full(size int64) bool {
	return b.Size() >= size || b.table.EncodedSize() >= fullTable
}

// Empty reports whether the pack has no frame yet.
func (b *Builder) Empty() bool { return len(b.table.Frames) == 0 }

// Finish seals the table and returns the file, its name and its table. The Builder must not be used again.
func (b *Builder) Finish(keys Keys) ([]byte, FileID, *Table) {
	start := len(b.file)
	b.file = append(b.file, make([]byte, NonceSize)...)
	b.file = b.table.AppendTo(b.file)
	if n := (len(b.file) + TagSize + tailSize) % align; n > 0 {
		b.file = append(b.file, make([]byte, align-n)...)
	}
	// The sealer appends the tag in place: the table is the end of the file's memory.
	b.file = append(b.file[:start], keys.Table.SealInPlace(b.file[start:])...)
	length := binary.LittleEndian.AppendUint32(make([]byte, NonceSize, sealing+4), uint32(len(b.file)-start))
	b.file = append(b.file, keys.Tail.SealInPlace(length)...)
	b.file = append(b.file, tailMark...)
	return b.file, Sum(b.file), &b.table
}

// ReadTable finds and opens the table of a pack of size bytes; read returns n of its bytes from offset off. The error
// wraps ErrDamaged if the file is not a pack or is incomplete, and is read's error otherwise.
func ReadTable(size int64, keys Keys, read func(off, n int64) ([]byte, error)) (*Table, error) {
	if size < HeaderSize+tailSize+sealing || size > MaxSize {
		return nil, fmt.Errorf("%w: pack of %d bytes", ErrDamaged, size)
	}
	// A read of the whole pack would save reading the header, but stores may be slow. The tail is small, and most
	// tables fit into the same read.
	const guess = 64 << 10
	at := max(0, size-guess)
	tail, err := readFull(read, at, size-at)
	if err != nil {
		return nil, err
	}
	end := tail[len(tail)-tailSize:]
	plain, err := keys.Tail.Open(end[:sealing+4])
	if err != nil || string(end[sealing+4:]) != tailMark {
		return nil, fmt.Errorf("%w: pack with an unreadable tail", ErrDamaged)
	}
	length := int64(binary.LittleEndian.Uint32(plain))
	start := size - tailSize - length
	if length <= sealing || length > MaxTable || start < HeaderSize {
		return nil, fmt.Errorf("%w: pack of %d bytes with a table of %d", ErrDamaged, size, length)
	}
	var sealed []byte
	if start >= at {
		sealed = tail[start-at : start-at+length]
	} else if sealed, err = readFull(read, start, length); err != nil {
		return nil, err
	}
	header, err := readFull(read, 0, HeaderSize)
	if err != nil {
		return nil, err
	}
	if _, err := ParseHeader(header, PackFile); err != nil {
		return nil, err
	}
	return openTable(sealed, start, keys)
}

// openTable opens a sealed table that starts at byte start of its pack.
func openTable(sealed []byte, start int64, keys Keys) (*Table, error) {
	plain, err := keys.Table.Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("open table: %w: %w", ErrDamaged, err)
	}
	table, padding, err := DecodeTable(plain)
	if err != nil {
		return nil, err
	}
	for _, b := range padding {
		if b != 0 {
			return nil, fmt.Errorf("%w: table with data after it", ErrDamaged)
		}
	}
	if table.end() != start {
		return nil, fmt.Errorf("%w: frames end at %d, the table starts at %d", ErrDamaged, table.end(), start)
	}
	return table, nil
}

func readFull(read func(off, n int64) ([]byte, error), off, n int64) ([]byte, error) {
	p, err := read(off, n)
	if err == nil && int64(len(p)) != n {
		err = fmt.Errorf("%w: pack ends at %d", ErrDamaged, off+int64(len(p)))
	}
	return p, err
}
