package index

import (
	"encoding/binary"
	"fmt"

	"platter/chunk"
	"platter/pack"
)

// MaxFile bounds an index file, in bytes; writers stay far below it.
const MaxFile = 64 << 20

// align pads the length of an index file, in bytes, so that the length does not reveal the number of chunks.
const align = 4096

// A File is the content of an index file: packs with their tables, and the older index files that it supersedes.
//
//	+------------+-------+- - - - - - - - -+- - - - - - - - - - - - - - - - - - - - - - -+
//	| superseded | packs | id 32 bytes …   | id 32 bytes, size u32, table (see pack) …   |
//	| u32        | u32   | superseded file | one a pack                                  |
//	+------------+-------+- - - - - - - - -+- - - - - - - - - - - - - - - - - - - - - - -+
//
// Zeros follow, up to a multiple of align.
type File struct {
	Supersedes []pack.FileID // index files
	Packs      []PackTable
}

// A PackTable is a pack and its table.
type PackTable struct {
	Pack
	Table *pack.Table
}

const (
	fileHead  = 8
	idSize    = len(pack.FileID{})
	packEntry = idSize + 4
)

// Encode returns the file's bytes. It leaves room for a seal: before bytes in front, and capacity for after bytes at
// the end.
func (f *File) Encode(before, after int) []byte {
	n := fileHead + idSize*len(f.Supersedes)
	for _, p := range f.Packs {
		n += packEntry + p.Table.EncodedSize()
	}
	padded := (n + align - 1) / align * align
	dst := make([]byte, before, before+padded+after)
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(len(f.Supersedes)))
	dst = le.AppendUint32(dst, uint32(len(f.Packs)))
	for _, id := range f.Supersedes {
		dst = append(dst, id[:]...)
	}
	for _, p := range f.Packs {
		dst = append(dst, p.ID[:]...)
		dst = le.AppendUint32(dst, uint32(p.Size))
		dst = p.Table.AppendTo(dst)
	}
	return dst[:before+padded]
}

// Decode parses an index file's bytes. The error wraps pack.ErrDamaged.
func Decode(p []byte) (*File, error) {
	le := binary.LittleEndian
	if len(p) < fileHead {
		return nil, fmt.Errorf("%w: index of %d bytes", pack.ErrDamaged, len(p))
	}
	superseded, packs := uint64(le.Uint32(p)), uint64(le.Uint32(p[4:]))
	p = p[fileHead:]
	if need := superseded*uint64(idSize) + packs*uint64(packEntry); need > uint64(len(p)) {
		return nil, fmt.Errorf("%w: index of %d packs in %d bytes", pack.ErrDamaged, packs, len(p))
	}
	f := &File{Supersedes: make([]pack.FileID, superseded), Packs: make([]PackTable, packs)}
	for i := range f.Supersedes {
		f.Supersedes[i] = pack.FileID(p[:idSize])
		p = p[idSize:]
	}
	for i := range f.Packs {
		if len(p) < packEntry {
			return nil, fmt.Errorf("%w: index ends in pack %d of %d", pack.ErrDamaged, i, packs)
		}
		id, size := pack.FileID(p[:idSize]), int64(le.Uint32(p[idSize:]))
		table, rest, err := pack.DecodeTable(p[packEntry:])
		if err != nil {
			return nil, fmt.Errorf("pack %v: %w", id, err)
		}
		f.Packs[i] = PackTable{Pack{ID: id, Size: size}, table}
		p = rest
	}
	if !chunk.IsZero(p) || len(p) >= align {
		return nil, fmt.Errorf("%w: index with %d bytes after its last pack", pack.ErrDamaged, len(p))
	}
	return f, nil
}
