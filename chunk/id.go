// Package chunk cuts a disk into runs by their content and names each run by a keyed hash.
//
// Its promise: the same bytes become the same chunks with the same names, wherever they are on a disk, for any number
// of workers and any size of read. Without the repository's keys, neither names nor cuts can be predicted.
package chunk

import (
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"
)

// IDSize is the length of an ID in bytes.
const IDSize = 32

// An ID is the keyed BLAKE3-256 of a chunk's plaintext. The zero ID names no chunk: in a map it means zeros.
type ID [IDSize]byte

// String returns the ID as 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the ID is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText returns String, for JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses as ParseID does, for JSON.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// ParseID parses an ID from 64 lower-case hex digits.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*IDSize {
		return ID{}, fmt.Errorf("id %.80q: want %d hex digits", s, 2*IDSize)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("id %q: %w", s, err)
	}
	if id.String() != s { // hex.Decode accepts capitals; an ID has one spelling
		return ID{}, fmt.Errorf("id %q: want lower-case hex digits", s)
	}
	return id, nil
}

// A Kind says what a chunk is part of. Each kind has its own key, so a chunk of one kind never opens as the other.
type Kind uint8

const (
	Data Kind = 1 // a run of a disk
	Map  Kind = 2 // a page or a node of a disk's map
)

func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case Map:
		return "map"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A Namer computes IDs with one key. It is not safe for concurrent use; each worker has its own.
type Namer struct {
	hash *blake3.Hasher
	sum  [IDSize]byte
}

// NewNamer returns a Namer for a 32-byte key.
func NewNamer(key [32]byte) *Namer {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // only for a key of the wrong length
	}
	return &Namer{hash: h}
}

// ID returns the ID of data.
func (n *Namer) ID(data []byte) ID {
	n.hash.Reset()
	n.hash.Write(data)
	return ID(n.hash.Sum(n.sum[:0]))
}
