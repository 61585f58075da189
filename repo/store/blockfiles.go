package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/blake3"
)

// A fileKey stands for the name of a file: 16 bytes of its BLAKE3.
type fileKey [16]byte

func fileKeyOf(name string) (key fileKey) {
	sum := blake3.Sum256([]byte(name))
	copy(key[:], sum[:])
	return key
}

// A blockKey names a block: the bytes of a file from block times blockSize.
type blockKey struct {
	file  fileKey
	block int64
}

// path returns where a block belongs: <2 hex>/<32 hex>-<number>.
func (k blockKey) path(folder string) string {
	name := hex.EncodeToString(k.file[:])
	return filepath.Join(folder, name[:2], name+"-"+strconv.FormatInt(k.block, 10))
}

// parseBlockKey is the reverse of path. It returns false for any other file.
func parseBlockKey(dir, base string) (k blockKey, ok bool) {
	name, number, _ := strings.Cut(base, "-")
	file, err := hex.DecodeString(name)
	if err != nil || len(file) != len(k.file) || name[:2] != dir {
		return k, false
	}
	copy(k.file[:], file)
	k.block, err = strconv.ParseInt(number, 10, 64)
	return k, err == nil && k.block >= 0 && filepath.Base(k.path("")) == base
}

// The file of a block:
//
//	hash 32 (BLAKE3 of all that follows), file key 16, block u64, length u32, bytes
const blockHead = 32 + 16 + 8 + 4

func appendBlock(dst []byte, key blockKey, data []byte) []byte {
	dst = append(append(dst, make([]byte, 32)...), key.file[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(key.block))
	dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(data))), data...)
	sum := blake3.Sum256(dst[32:])
	copy(dst, sum[:])
	return dst
}

// parseBlock returns the bytes of a block from its file, and false if the file is damaged or another block's.
func parseBlock(key blockKey, file []byte) ([]byte, bool) {
	if len(file) <= blockHead || int64(binary.LittleEndian.Uint32(file[56:])) != int64(len(file)-blockHead) ||
		!bytes.Equal(file[32:48], key.file[:]) || binary.LittleEndian.Uint64(file[48:]) != uint64(key.block) ||
		blake3.Sum256(file[32:]) != [32]byte(file[:32]) {
		return nil, false
	}
	return file[blockHead:], true
}

// pausedFor is how long a folder that could not be written to is not written to again.
const pausedFor = time.Minute

// blockFiles are the files of a BlockCache. Other processes may write to the same folder.
type blockFiles struct {
	folder  string
	limit   int64 // bytes
	buffers sync.Pool
	paused  atomic.Pointer[time.Time] // until then nothing is written

	ending  context.CancelFunc
	walks   sync.WaitGroup
	walkNow chan struct{} // asks for another walk

	mu       sync.Mutex
	kept     map[blockKey]*keptBlock
	used     int64                 // bytes of kept, and of blocks being written
	writing  int64                 // the latter
	walked   int64                 // number of walks begun
	unwalked int64                 // bytes added since the last walk began
	uses     int64                 // number of uses; orders those of one moment
	stuck    map[blockKey]struct{} // blocks that must go, but cannot be removed: never read
}

// openBlockFiles makes the folder and begins to look what it holds.
func openBlockFiles(folder string, limit int64) (*blockFiles, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	f := &blockFiles{
		folder: folder, limit: limit,
		walkNow: make(chan struct{}, 1),
		kept:    map[blockKey]*keptBlock{}, stuck: map[blockKey]struct{}{},
	}
	f.buffers.New = func() any { b := make([]byte, 0, blockHead+blockSize+1); return &b }
	f.beginWalks()
	return f, nil
}

// get passes a block to take, if there is one. take must not keep the bytes.
func (f *blockFiles) get(key blockKey, take func(block []byte)) bool {
	buf := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(buf)
	file, err := readBlockFile(key.path(f.folder), *buf)
	if errors.Is(err, fs.ErrNotExist) {
		f.forget(key)
		return false
	}
	if err != nil || f.isStuck(key) {
		return false
	}
	block, ok := parseBlock(key, file)
	if !ok {
		f.remove(key)
		return false
	}
	take(block)
	f.use(key, int64(len(file)))
	return true
}

// readBlockFile reads a file into buf's memory, and at most what that holds.
func readBlockFile(path string, buf []byte) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	buf = buf[:cap(buf)]
	n, err := file.ReadAt(buf, 0)
	if n > 0 {
		err = nil // the hash decides
	}
	return buf[:n], err
}

// add keeps a block, unless stale is set. An empty block is not kept, because its place says nothing about the file.
func (f *blockFiles) add(key blockKey, block []byte, stale *atomic.Bool) {
	size := int64(blockHead + len(block))
	if until := f.paused.Load(); len(block) == 0 || size > f.limit || until != nil && time.Now().Before(*until) {
		return
	}
	f.reserve(size)
	temp, err := f.writeTemp(key, block)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writing, f.used = f.writing-size, f.used-size
	if err == nil && !stale.Load() {
		if err = os.Rename(temp, key.path(f.folder)); err == nil {
			delete(f.stuck, key)
			f.note(key, size, time.Now())
			return
		}
	}
	if temp != "" {
		_ = os.Remove(temp) // a walk sweeps it otherwise
	}
	if err != nil {
		until := time.Now().Add(pausedFor)
		f.paused.Store(&until)
	}
}

// writeTemp writes a block beside its place, and returns the path; "" if there is no file.
func (f *blockFiles) writeTemp(key blockKey, block []byte) (temp string, err error) {
	folder := filepath.Dir(key.path(f.folder))
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	temp = filepath.Join(folder, tempPrefix+hex.EncodeToString(random[:]))
	open := func() (*os.File, error) { return os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) }
	file, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(folder, 0o700); err == nil {
			file, err = open()
		}
	}
	if err != nil {
		return "", err
	}
	buf := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(buf)
	_, err = file.Write(appendBlock((*buf)[:0], key, block))
	return temp, errors.Join(err, file.Close())
}

// drop removes the blocks of a file from first to last, also those that another process wrote.
func (f *blockFiles) drop(file fileKey, first, last int64) {
	if last-first < maxFetch/blockSize {
		for block := first; block <= last; block++ {
			f.remove(blockKey{file, block})
		}
		return
	}
	dir := filepath.Base(filepath.Dir(blockKey{file: file}.path("")))
	entries, _ := os.ReadDir(filepath.Join(f.folder, dir)) // a block that it cannot list cannot be opened either, or is in kept
	for _, e := range entries {
		if key, ok := parseBlockKey(dir, e.Name()); ok && key.file == file && first <= key.block && key.block <= last {
			f.remove(key)
		}
	}
}

// remove removes a block. If that fails, the block is never read again. No add of the block that began earlier can
// succeed afterwards if its stale is set.
func (f *blockFiles) remove(key blockKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := os.Remove(key.path(f.folder)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.stuck[key] = struct{}{}
		return
	}
	f.unnote(key)
}

func (f *blockFiles) isStuck(key blockKey) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.stuck[key]
	return ok
}
