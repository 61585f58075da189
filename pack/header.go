// Package pack puts chunks into frames and frames into pack files, and takes them out again.
//
// Its promise: a frame opens to exactly the bytes that were put in, or not at all; and whoever holds a pack without the
// keys learns its length, to the next 4 KiB, and roughly how many chunks are in it, nothing else.
package pack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"platter/chunk"
)

// A FileID is the plain BLAKE3-256 of a whole file, which is the file's name: anybody can tell whether it is what it was.
type FileID chunk.ID

// Sum names a file by its bytes.
func Sum(file []byte) FileID { return blake3.Sum256(file) }

// ParseFileID reads a FileID from 64 lower-case hex digits.
func ParseFileID(s string) (FileID, error) {
	id, err := chunk.ParseID(s)
	return FileID(id), err
}

// String is the FileID as 64 lower-case hex digits.
func (id FileID) String() string { return chunk.ID(id).String() }

// IsZero reports whether it names nothing.
func (id FileID) IsZero() bool { return id == FileID{} }

// MarshalText is String, for JSON.
func (id FileID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseFileID, for JSON.
func (id *FileID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseFileID(string(text))
	return err
}

// A FileKind says what a file of a repository is. Every file begins with its header:
//
//	 0        8        10     11         12
//	+--------+--------+------+----------+
//	| magic  | version| kind | features |
//	+--------+--------+------+----------+
//
// The magic is "platter" and a zero byte, the version little-endian. A reader refuses a version it does not know,
// and any feature bit that it does not know.
type FileKind uint8

const (
	ConfigFile   FileKind = 1
	SlotFile     FileKind = 2
	PackFile     FileKind = 3
	IndexFile    FileKind = 4
	SnapshotFile FileKind = 5
	ParityFile   FileKind = 6
	LeaseFile    FileKind = 7
	PlanFile     FileKind = 8
	RecordFile   FileKind = 9
)

// featureTargets says that a pack may have frames with the encoding targets, and that an index file may list such packs.
// What is written now always has it: readers that do not know the encoding are to say so before they meet a frame.
const featureTargets = 1 << 0

// features are the bits that this code knows, and puts into new files.
func (k FileKind) features() byte {
	if k == PackFile || k == IndexFile {
		return featureTargets
	}
	return 0
}

// HeaderSize is the length of a file's header in bytes.
const HeaderSize = 12

// Version is the format this code writes.
const Version = 1

const magic = "platter\x00"

var (
	// ErrDamaged says that bytes are not what was written: a fault of a disk, a cable or a human.
	ErrDamaged = errors.New("damaged")
	// ErrNewer says that a file was written by a platter that knows more than this one.
	ErrNewer = errors.New("written by a newer platter; get a newer one to read it")
)

// Header returns the header of a file of the given kind.
func Header(kind FileKind) []byte {
	h := make([]byte, 0, HeaderSize)
	h = append(h, magic...)
	h = binary.LittleEndian.AppendUint16(h, Version)
	return append(h, byte(kind), kind.features())
}

// IsFile reports whether a file begins as those of a repository do, of whatever kind and version.
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
