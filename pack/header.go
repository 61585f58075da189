// Package pack stores chunks in frames, and frames in pack files, and reads them back.
//
// Its promise: a frame opens to exactly the bytes that were put in, or not at all. Without the keys, a pack reveals
// its length to the next 4 KiB and roughly how many chunks it holds, and nothing else.
package pack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"platter/chunk"
)

// A FileID is the plain BLAKE3-256 of a whole file, which is the file's name. Without any key, it proves that the
// file is intact.
type FileID chunk.ID

// Sum returns the FileID of a file's bytes.
func Sum(file []byte) FileID { return blake3.Sum256(file) }

// ParseFileID parses a FileID from 64 lower-case hex digits.
func ParseFileID(s string) (FileID, error) {
	id, err := chunk.ParseID(s)
	return FileID(id), err
}

// String returns the FileID as 64 lower-case hex digits.
func (id FileID) String() string { return chunk.ID(id).String() }

// IsZero reports whether the FileID is the zero FileID, which names no file.
func (id FileID) IsZero() bool { return id == FileID{} }

// MarshalText returns String, for JSON.
func (id FileID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses as ParseFileID does, for JSON.
func (id *FileID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseFileID(string(text))
	return err
}

// A FileKind is the kind of a repository's file. Each file begins with a header:
//
//	 0        8        10     11         12
//	+--------+--------+------+----------+
//	| magic  | version| kind | features |
//	+--------+--------+------+----------+
//
// The magic is "platter" and a zero byte; the version is little-endian. A reader refuses an unknown version and any
// unknown feature bit.
type FileKind uint8

const (
	ConfigFile   FileKind = 1
	SlotFile     FileKind = 2
	PackFile     FileKind = 3
	IndexFile    FileKind = 4
	SnapshotFile FileKind = 5
	ParityFile   FileKind = 6
	LeaseFile    FileKind = 7
	MarkerFile   FileKind = 8
	RecordFile   FileKind = 9
	VerdictFile  FileKind = 10
)

// featureTargets says that a pack may have frames with the encoding targets, and that an index file may list such
// packs. New files always have it, so that older readers say so before they meet a frame.
const featureTargets = 1 << 0

// features returns the bits that this code knows and sets in new files.
func (k FileKind) features() byte {
	if k == PackFile || k == IndexFile {
		return featureTargets
	}
	return 0
}

// HeaderSize is the length of a file's header in bytes.
const HeaderSize = 12

// Version is the version of the format that this code writes.
const Version = 1

const magic = "platter\x00"

var (
	// ErrDamaged says that bytes differ from those that were written: a fault of a disk, a cable or a human.
	ErrDamaged = errors.New("damaged")
	// ErrNewer says that a newer platter wrote the file, with a format that this one does not know.
	ErrNewer = errors.New("written by a newer platter; get a newer one to read it")
)

// Header returns the header of a file of the given kind.
func Header(kind FileKind) []byte {
	h := make([]byte, 0, HeaderSize)
	h = append(h, magic...)
	h = binary.LittleEndian.AppendUint16(h, Version)
	return append(h, byte(kind), kind.features())
}

// IsFile reports whether a file begins with the magic of a repository's files, of any kind and version.
func IsFile(head []byte) bool { return len(head) >= len(magic) && string(head[:len(magic)]) == magic }

// ParseHeader checks a file's header and returns what follows it. The error wraps ErrDamaged or ErrNewer.
func ParseHeader(file []byte, kind FileKind) ([]byte, error) {
	if len(file) < HeaderSize || !IsFile(file) {
		return nil, fmt.Errorf("%w: it does not begin as a file of platter", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint16(file[8:]); v > Version {
		return nil, fmt.Errorf("%w (format %d; this one reads up to %d)", ErrNewer, v, Version)
	} else if v == 0 {
		return nil, fmt.Errorf("%w: format 0", ErrDamaged)
	}
	if FileKind(file[10]) != kind {
		return nil, fmt.Errorf("%w: it is a file of kind %d where kind %d belongs", ErrDamaged, file[10], kind)
	}
	if file[11]&^kind.features() != 0 {
		return nil, fmt.Errorf("%w (feature bits %08b)", ErrNewer, file[11])
	}
	return file[HeaderSize:], nil
}
