// Package diskmap represents a disk as a map: a tree of nodes over pages. Each page lists the pieces of one region.
//
// A map is read through a Loader and is independent of repositories. Every node and page is named by its bytes. So a
// subtree that occurs twice on a disk, or that two disks share, is the same chunk. A Fold computes its value once.
package diskmap

import (
	"encoding/binary"
	"fmt"

	"platter/chunk"
	"platter/pack"
)

// RegionSize is how much of a disk one page describes, in bytes. Regions count from byte 0. Each is cut, stored,
// compared and restored on its own. The last one may be shorter.
const RegionSize = 64 << 20

// FanOut is the maximum number of pages or nodes below one node.
const FanOut = 256

// A Piece is a run of a region.
type Piece struct {
	Kind PieceKind
	Len  uint32   // bytes
	ID   chunk.ID // for data
}

// A PieceKind says what a piece holds. The values are those in a page.
type PieceKind uint8

const (
	Data       PieceKind = 0
	Zeros      PieceKind = 1
	Unreadable PieceKind = 2 // not readable from the source, or lost from the repository; restored as zeros
)

// AppendPage appends a page to dst. A page is the pieces of a region, in order and without gaps, and never two zero
// pieces side by side:
//
//	+----------+--------+- - - - - - - - - - - - - +- - - - - - - - - - - - - +
//	| level 0  | pieces | kind << 30 | length, u32 | id 32 bytes              |
//	| u8       | u32    | … one a piece            | … one a data piece       |
//	+----------+--------+- - - - - - - - - - - - - +- - - - - - - - - - - - - +
//
// A region of zeros has no page: the zero ID represents it.
func AppendPage(dst []byte, pieces []Piece) []byte {
	dst = append(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(pieces)))
	for _, p := range pieces {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(p.Kind)<<30|p.Len)
	}
	for _, p := range pieces {
		if p.Kind == Data {
			dst = append(dst, p.ID[:]...)
		}
	}
	return dst
}

// ParsePage reads the page of a region of length bytes. The error wraps pack.ErrDamaged.
func ParsePage(p []byte, length int64) ([]Piece, error) {
	const head = 5
	if len(p) < head || p[0] != 0 {
		return nil, fmt.Errorf("%w: not a page", pack.ErrDamaged)
	}
	n := uint64(binary.LittleEndian.Uint32(p[1:]))
	if head+4*n > uint64(len(p)) {
		return nil, fmt.Errorf("%w: page of %d pieces in %d bytes", pack.ErrDamaged, n, len(p))
	}
	lens, ids := p[head:head+4*n], p[head+4*n:]
	pieces, total := make([]Piece, n), int64(0)
	for i := range pieces {
		v := binary.LittleEndian.Uint32(lens[4*i:])
		q := Piece{Kind: PieceKind(v >> 30), Len: v & (1<<30 - 1)}
		if q.Kind > Unreadable || q.Len == 0 {
			return nil, fmt.Errorf("%w: page with a piece of kind %d and %d bytes", pack.ErrDamaged, q.Kind, q.Len)
		}
		if q.Kind == Data {
			if len(ids) < chunk.IDSize {
				return nil, fmt.Errorf("%w: page ends in its ids", pack.ErrDamaged)
			}
			q.ID, ids = chunk.ID(ids), ids[chunk.IDSize:]
		}
		pieces[i] = q
		total += int64(q.Len)
	}
	if total != length || len(ids) > 0 {
		return nil, fmt.Errorf("%w: page of %d bytes for a region of %d, and %d bytes after it", pack.ErrDamaged, total, length, len(ids))
	}
	return pieces, nil
}

// A Node is the IDs of its children: pages at level 1, otherwise nodes of the level below. Zero IDs at the end are
// omitted, so that a disk of mostly zeros has small nodes.
//
//	+-------+- - - - - - - - - - - - - - - - +
//	| level | id 32 bytes, … up to fanOut    |
//	| u8    |                                |
//	+-------+- - - - - - - - - - - - - - - - +
type Node [FanOut]chunk.ID

// AppendTo appends the stored form of a node at that level.
func (n *Node) AppendTo(dst []byte, level int) []byte {
	dst = append(dst, byte(level))
	last := FanOut
	for last > 0 && n[last-1].IsZero() {
		last--
	}
	for _, id := range n[:last] {
		dst = append(dst, id[:]...)
	}
	return dst
}

// ParseNode reads a node at that level. The error wraps pack.ErrDamaged.
func ParseNode(p []byte, level int) (*Node, error) {
	if len(p) <= 1 || int(p[0]) != level || level == 0 || (len(p)-1)%chunk.IDSize != 0 || len(p)-1 > FanOut*chunk.IDSize {
		return nil, fmt.Errorf("%w: not a node of level %d", pack.ErrDamaged, level)
	}
	n := new(Node)
	for i := 0; i < (len(p)-1)/chunk.IDSize; i++ {
		n[i] = chunk.ID(p[1+i*chunk.IDSize:])
	}
	if n[(len(p)-1)/chunk.IDSize-1].IsZero() {
		return nil, fmt.Errorf("%w: node of level %d with zeros at its end", pack.ErrDamaged, level)
	}
	return n, nil
}

// WrongLength is the error of a chunk whose length in bytes differs from that in its map. It wraps pack.ErrDamaged.
func WrongLength(id chunk.ID, got int, want uint32) error {
	return fmt.Errorf("%w: chunk %v has %d bytes where the map says %d", pack.ErrDamaged, id, got, want)
}
