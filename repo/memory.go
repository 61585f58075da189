package repo

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/zeebo/blake3"

	"platter/repo/crypt"
)

// What a machine remembers of a repository is in files of its own, beside the cache:
//
//	0       8         12              28                −32
//	+-------+---------+---------------+- - - - - - - - -+-----+
//	| magic | version | repository id | what it remembers | sum |
//	| 8     | u32     | 16            |                 | 32  |
//	+-------+---------+---------------+- - - - - - - - -+-----+
//
// The sum is BLAKE3, keyed with a key of the repository, over everything before it. A file without a valid sum counts
// as absent. Other users may be able to write to the folder, and damage there must cost no more than a look at the
// repository.
const (
	memoryVersion = 1
	memoryHeader  = 8 + 4 + 16
	memorySum     = 32
	maxMemory     = 256 << 20 // maximum bytes of such a file
)

// errNoMemory says that this machine has no folder for what it remembers.
var errNoMemory = errors.New("there is no cache folder")

// UseMemory makes the Repo remember, in a folder of this machine, what it has seen of the repository. Unlike UseCache,
// it holds only what the repository cannot answer itself. It creates nothing before there is something to keep.
func (r *Repo) UseMemory(folder string) { r.memory = folder }

// Remembers reports whether this machine remembers anything of the repository.
func (r *Repo) Remembers() bool { return r.memory != "" }

// Recall returns what was last remembered under a name, or nil if nothing valid is there.
func (r *Repo) Recall(name, magic string) []byte {
	if r.memory == "" {
		return nil
	}
	f, err := os.Open(filepath.Join(r.memory, r.ID(), name))
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMemory+1))
	end := len(data) - memorySum
	if err != nil || end < memoryHeader || len(data) > maxMemory {
		return nil
	}
	sum := r.memoryOf(data[:end])
	if string(data[:memoryHeader]) != string(r.memoryHead(magic)) || subtle.ConstantTimeCompare(sum[:], data[end:]) != 1 {
		return nil
	}
	return data[memoryHeader:end]
}

// Remember stores what Recall is to return from now on. magic has 8 bytes.
func (r *Repo) Remember(name, magic string, what []byte) error {
	if r.memory == "" {
		return errNoMemory
	}
	own := filepath.Join(r.memory, r.ID())
	if err := MakeCache(r.memory, own); err != nil {
		return fmt.Errorf("record it on this machine: %w", err)
	}
	data := append(r.memoryHead(magic), what...)
	sum := r.memoryOf(data)
	return ReplaceFile(filepath.Join(own, name), append(data, sum[:]...))
}

func (r *Repo) memoryHead(magic string) []byte {
	head := binary.LittleEndian.AppendUint32([]byte(magic), memoryVersion)
	return append(head, r.id[:]...)
}

func (r *Repo) memoryOf(data []byte) (sum [memorySum]byte) {
	key := r.master.Key(crypt.LocalState)
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // only for keys of a wrong length
	}
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}

// staleTemp is the age from which on a temporary file of ReplaceFile must be a leftover of a crash.
const staleTemp = 24 * time.Hour

// ReplaceFile replaces a file of this machine atomically: after a power cut, the old file or the new one is whole. It first
// removes temporary files that a crash of an earlier call left beside it.
//
// Other replacements promise something else. The index can make its run again, so it does not sync it. For a file of the
// user, restore.ReplaceFile also syncs the folder, and keeps links, owner and access.
func ReplaceFile(path string, data []byte) error {
	folder, pattern := filepath.Dir(path), "index-"+filepath.Base(path)+"-*.tmp"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); !ok {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleTemp {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
	f, err := os.CreateTemp(folder, pattern)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync() // or else a power cut could leave the new name without its bytes
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
