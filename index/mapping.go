package index

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// runName is the run in a cache's folder. Files are renamed over it: who has the old one mapped keeps it.
const runName = "index.run"

const (
	tempPrefix = "index-"
	tempSuffix = ".tmp"
	abandoned  = 24 * time.Hour // after which a temporary file is one that a crash left behind
)

// tempFile makes a file without a name, or one that discard removes: in folder, or where the system keeps such files.
func tempFile(folder, what string) (*os.File, error) {
	f, err := os.CreateTemp(folder, tempPrefix+what+"-*"+tempSuffix)
	if err != nil && folder != "" {
		f, err = os.CreateTemp("", tempPrefix+what+"-*"+tempSuffix)
	}
	if err != nil {
		return nil, err
	}
	if removesOpenFiles {
		err = os.Remove(f.Name())
	}
	return f, err
}

func discard(f *os.File) {
	f.Close()
	if !removesOpenFiles {
		os.Remove(f.Name())
	}
}

// sweep removes what crashes left behind.
func sweep(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// openRun returns the run in the cache, proved. Whatever is wrong with it, the caller does without.
func openRun(c *Cache) (*run, error) {
	if c.Folder == "" {
		return nil, errNoRun
	}
	f, err := os.Open(filepath.Join(c.Folder, runName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() < trailerSize+sumSize || info.Size() > math.MaxInt {
		return nil, errNoRun
	}
	data, free, err := view(f, info.Size(), c)
	if err != nil {
		return nil, err
	}
	r, err := parseRun(data, c)
	if err != nil {
		free()
		return nil, err
	}
	return r.own(free), nil
}

// view returns the bytes of a file, mapped where that can be. Where they are read, the trailer is looked at first.
func view(f *os.File, size int64, c *Cache) ([]byte, func(), error) {
	if data, err := mapFile(f, size); err == nil {
		return data, func() { unmapFile(data) }, nil
	}
	end := make([]byte, trailerSize+sumSize)
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return nil, nil, err
	}
	if string(end[:8]) != runMagic || [16]byte(end[12:28]) != c.Repo {
		return nil, nil, errNoRun
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	return data, func() {}, nil
}

// own makes a run give its bytes back when it is released, or when nobody has it any more.
func (r *run) own(free func()) *run {
	r.free = release(free)
	runtime.AddCleanup(r, func(free func()) { free() }, r.free)
	return r
}

// A target is where a run is written.
type target interface {
	write(p []byte) error
	finish() (data []byte, free func(), err error) // of all that was written
	abandon()
}

// targets are the places for a run of at most size bytes, the best first; the last always takes it. Without a mapping, a
// file would have to be read into memory again, so memory comes first there and is written to a file in the end.
func targets(c *Cache, size uint64) []func() (target, error) {
	memory := func() (target, error) {
		if size > math.MaxInt {
			return nil, fmt.Errorf("a run of %d bytes does not fit this machine's memory", size)
		}
		return &memoryTarget{folder: c.Folder, data: make([]byte, 0, size)}, nil
	}
	if !canMap {
		return []func() (target, error){memory}
	}
	var out []func() (target, error)
	if c.Folder != "" {
		out = append(out, func() (target, error) {
			f, err := os.CreateTemp(c.Folder, tempPrefix+"run-*"+tempSuffix)
			return &fileTarget{f, filepath.Join(c.Folder, runName)}, err
		})
	}
	return append(out, func() (target, error) {
		f, err := tempFile("", "run")
		return &fileTarget{f, ""}, err
	}, memory)
}

// A fileTarget writes a file and maps it: under a name that others find it by, or under none.
type fileTarget struct {
	f    *os.File
	name string
}

func (t *fileTarget) write(p []byte) error {
	_, err := t.f.Write(p)
	return err
}

func (t *fileTarget) finish() ([]byte, func(), error) {
	size, err := t.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, nil, err
	}
	if size > math.MaxInt {
		return nil, nil, fmt.Errorf("a run of %d bytes does not fit this machine's memory", size)
	}
	data, err := mapFile(t.f, size)
	if err != nil {
		return nil, nil, err
	}
	if t.name != "" {
		// No fsync: after a power cut the file may be anything, and its sums will tell.
		if err := os.Rename(t.f.Name(), t.name); err != nil {
			os.Remove(t.f.Name()) // the mapping stays
		}
	}
	t.f.Close()
	return data, func() { unmapFile(data) }, nil
}

func (t *fileTarget) abandon() {
	t.f.Close()
	if t.name != "" {
		os.Remove(t.f.Name())
	}
}

// A memoryTarget keeps a run in memory, and leaves a copy in a folder if there is one.
type memoryTarget struct {
	folder string
	data   []byte
}

func (t *memoryTarget) write(p []byte) error {
	t.data = append(t.data, p...)
	return nil
}

func (t *memoryTarget) finish() ([]byte, func(), error) {
	if t.folder == "" {
		return t.data, func() {}, nil
	}
	if f, err := os.CreateTemp(t.folder, tempPrefix+"run-*"+tempSuffix); err == nil {
		_, err = f.Write(t.data)
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(f.Name(), filepath.Join(t.folder, runName))
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}
	return t.data, func() {}, nil
}

func (t *memoryTarget) abandon() { t.data = nil }
