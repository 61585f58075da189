package pack

import (
	"encoding/binary"
	"fmt"

	"platter/chunk"
)

// Limits of every pack ever written. A reader checks them before it allocates memory.
const (
	MaxSize  = 1 << 30  // bytes of a pack file
	MaxRaw   = 16 << 20 // bytes of a frame's chunks
	MaxTable = 32 << 20 // bytes of a sealed table
)

// fullTable is the length in bytes at which a table is full. The last frame's chunks may exceed it.
const fullTable = 16 << 20 // bytes

// A Table lists the content of a pack. It stores lengths only, so it cannot contradict itself: frames follow each
// other from the header on, and so do chunks within their frames.
//
//	+--------+--------+- - - - - - - - - - - - - - - - - - - - - -+- - - - - - - - - - - +
//	| frames | chunks | sealed u32, raw u32, chunks u32, kind u8  | id 32 bytes, len u32 |
//	| u32    | u32    | … one a frame                             | … one a chunk        |
//	+--------+--------+- - - - - - - - - - - - - - - - - - - - - -+- - - - - - - - - - - +
type Table struct {
	Frames []Frame
	Chunks []Ref // of all frames, in order
}

// A Frame is a run of chunks that were compressed and sealed together.
type Frame struct {
	Kind   chunk.Kind
	Sealed uint32 // bytes in the pack
	Raw    uint32 // bytes of its chunks
	Chunks uint32 // number of its chunks
}

// A Ref is a chunk in a frame.
type Ref struct {
	ID  chunk.ID
	Len uint32 // bytes
}

const (
	tableHead  = 8
	frameEntry = 13
	chunkEntry = chunk.IDSize + 4
)

// EncodedSize returns the number of bytes that AppendTo adds.
func (t *Table) EncodedSize() int {
	return tableHead + frameEntry*len(t.Frames) + chunkEntry*len(t.Chunks)
}

// AppendTo appends the encoded table to dst.
func (t *Table) AppendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(len(t.Frames)))
	dst = le.AppendUint32(dst, uint32(len(t.Chunks)))
	for _, f := range t.Frames {
		dst = le.AppendUint32(dst, f.Sealed)
		dst = le.AppendUint32(dst, f.Raw)
		dst = le.AppendUint32(dst, f.Chunks)
		dst = append(dst, byte(f.Kind))
	}
	for _, c := range t.Chunks {
		dst = append(dst, c.ID[:]...)
		dst = le.AppendUint32(dst, c.Len)
	}
	return dst
}

// DecodeTable parses a table at the start of p and returns it and the bytes after it. The error wraps ErrDamaged.
func DecodeTable(p []byte) (*Table, []byte, error) {
	le := binary.LittleEndian
	if len(p) < tableHead {
		return nil, nil, fmt.Errorf("%w: table of %d bytes", ErrDamaged, len(p))
	}
	frames, chunks := uint64(le.Uint32(p)), uint64(le.Uint32(p[4:]))
	if need := tableHead + frameEntry*frames + chunkEntry*chunks; need > uint64(len(p)) {
		return nil, nil, fmt.Errorf("%w: table of %d frames and %d chunks in %d bytes", ErrDamaged, frames, chunks, len(p))
	}
	p = p[tableHead:]
	t := &Table{Frames: make([]Frame, frames), Chunks: make([]Ref, chunks)}
	for i := range t.Frames {
		t.Frames[i] = Frame{Sealed: le.Uint32(p), Raw: le.Uint32(p[4:]), Chunks: le.Uint32(p[8:]), Kind: chunk.Kind(p[12])}
		p = p[frameEntry:]
	}
	for i := range t.Chunks {
		t.Chunks[i] = Ref{chunk.ID(p[:chunk.IDSize]), le.Uint32(p[chunk.IDSize:])}
		p = p[chunkEntry:]
	}
	return t, p, t.validate()
}

// validate returns an error that wraps ErrDamaged if frames and chunks contradict each other.
func (t *Table) validate() error {
	rest, end := t.Chunks, int64(HeaderSize)
	for i, f := range t.Frames {
		end += int64(f.Sealed)
		switch {
		case f.Kind != chunk.Data && f.Kind != chunk.Map:
			return fmt.Errorf("%w: frame %d is of %v", ErrDamaged, i, f.Kind)
		case f.Raw > MaxRaw || f.Sealed > f.Raw+overhead || f.Sealed <= overhead:
			return fmt.Errorf("%w: frame %d has %d bytes for %d", ErrDamaged, i, f.Sealed, f.Raw)
		case uint64(f.Chunks) > uint64(len(rest)) || f.Chunks == 0 || end > MaxSize:
			return fmt.Errorf("%w: frame %d has %d chunks and ends at %d", ErrDamaged, i, f.Chunks, end)
		}
		var raw uint64
		for _, c := range rest[:f.Chunks] {
			if c.Len == 0 {
				return fmt.Errorf("%w: frame %d has a chunk of no bytes", ErrDamaged, i)
			}
			raw += uint64(c.Len)
		}
		if raw != uint64(f.Raw) {
			return fmt.Errorf("%w: frame %d has chunks of %d bytes for %d", ErrDamaged, i, raw, f.Raw)
		}
		rest = rest[f.Chunks:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d chunks belong to no frame", ErrDamaged, len(rest))
	}
	return nil
}

// end returns the offset in the pack at which the last frame ends.
func (t *Table) end() int64 {
	end := int64(HeaderSize)
	for _, f := range t.Frames {
		end += int64(f.Sealed)
	}
	return end
}
