package repo

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/zeebo/blake3"

	"platter/index"
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
	return index.ReplaceFile(filepath.Join(own, name), append(data, sum[:]...), true)
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
