// Package layout defines the names, the folders and the maximum sizes of a repository's files.
//
// It lists, reads and writes them as far as no key is needed: a file named by the BLAKE3 of its bytes proves itself.
package layout

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"platter/pack"
	"platter/repo/store"
)

// The folders and files of a repository. All files but the config and parity are named by the plain BLAKE3-256 of their
// bytes, in lower-case hex.
//
//	config
//	config.copy         a copy of the config, made by the first change of it
//	keys/0123…          password slots
//	keys/0123….removing-4567…  a slot during its removal
//	packs/01/0123…      in folders by their first two digits, because there are many
//	packs/01/0123….par  parity that can mend the pack beside it; not named by its bytes
//	index/0123…
//	snapshots/0123…
//	work/0123…          leases and deletion markers, all of them temporary
//	pending/0123…       a snapshot or index file before its commit, named after its writer's lease
//	forgotten/0123…     records of the snapshots that were forgotten
//	aside/0123…         snapshots removed as damaged, kept until a check has verified the others
//	verdicts/0123…      results of tests of snapshots
const (
	Config     = "config"
	ConfigCopy = "config.copy"
	Keys       = "keys"
	Packs      = "packs"
	Index      = "index"
	Snapshots  = "snapshots"
	Work       = "work"
	Pending    = "pending"
	Forgotten  = "forgotten"
	Aside      = "aside"
	Verdicts   = "verdicts"
)

// Limits of whole files, in bytes, checked before a file is read into memory.
const (
	MaxConfig   = 64 << 10
	MaxSlot     = 128 << 10
	MaxSnapshot = 16 << 20
	MaxMarker   = 16 << 20 // also the limit of a lease
	MaxRecord   = 16 << 20
	MaxVerdict  = 64 << 10
)

// Names is a store.Layout with all names that a repository may use, for a folder that also holds other files.
type Names struct{}

var _ store.Layout = Names{}

// Folder reports whether a folder is one of the repository's.
func (Names) Folder(name string) bool {
	switch dir, below, deep := strings.Cut(name, "/"); dir {
	case Keys, Index, Snapshots, Work, Pending, Forgotten, Aside, Verdicts:
		return !deep
	case Packs:
		return !deep || len(below) == 2 && isHex(below)
	}
	return false
}

// File reports whether a file may be the repository's, by its name. The file is in the root or in one of the
// repository's folders.
func (Names) File(name string) bool {
	if name == Config || name == ConfigCopy {
		return true
	}
	part := name[strings.LastIndexByte(name, '/')+1:]
	return len(part) < len(name) && len(part) >= idDigits && isHex(part[:idDigits])
}

const idDigits = 2 * len(pack.FileID{})

// isHex reports whether s consists of lower-case hex digits only.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// Name returns the name of a file in any folder except Packs.
func Name(dir string, id pack.FileID) string { return dir + "/" + id.String() }

// PackName returns the name of a pack.
func PackName(id pack.FileID) string {
	s := id.String()
	return Packs + "/" + s[:2] + "/" + s
}

const ParityEnd = ".par"

// ParityName returns the name of a pack's parity file, which can mend some of the pack's sectors.
func ParityName(id pack.FileID) string { return PackName(id) + ParityEnd }

const RemovingMark = ".removing-"

// RemovingName returns a new name for a slot that is about to be removed. No other attempt to remove the slot uses that
// name.
func RemovingName(slot pack.FileID) string {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails: on an error it ends the process
	return Name(Keys, slot) + RemovingMark + hex.EncodeToString(nonce[:])
}

// Dir returns the first folder in a name.
func Dir(name string) string {
	dir, _, _ := strings.Cut(name, "/")
	return dir
}

// ParseID returns the ID in the name of a file in dir, and false if the file is not the repository's.
func ParseID(dir string, f store.Info) (pack.FileID, bool) {
	if f.Odd {
		return pack.FileID{}, false
	}
	id, err := pack.ParseFileID(f.Name[strings.LastIndexByte(f.Name, '/')+1:])
	if err != nil {
		return pack.FileID{}, false
	}
	want := Name(dir, id)
	if dir == Packs {
		want = PackName(id)
	}
	return id, f.Name == want
}

// ParseParity returns the pack that a parity file belongs to, and false for any other file.
func ParseParity(f store.Info) (pack.FileID, bool) {
	name, ok := strings.CutSuffix(f.Name, ParityEnd)
	if !ok || f.Odd {
		return pack.FileID{}, false
	}
	return ParseID(Packs, store.Info{Name: name})
}

// ParseRemoving returns the ID of a slot during its removal, and false for any other file.
func ParseRemoving(f store.Info) (pack.FileID, bool) {
	name, nonce, ok := strings.Cut(f.Name, RemovingMark)
	if !ok || f.Odd || len(nonce) != 32 || !isHex(nonce) {
		return pack.FileID{}, false
	}
	return ParseID(Keys, store.Info{Name: name})
}
