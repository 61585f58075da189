package index

import (
	"cmp"
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
	data, free, err := c.view(f, info.Size())
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

// mapFile maps a file in the cache's folder.
func (c *Cache) mapFile(f *os.File, size int64) ([]byte, error) {
	if c.remote {
		return nil, errors.ErrUnsupported
	}
	return mapFile(f, size)
}

// view returns the bytes of a file in the cache's folder: mapped, where that can be; else a copy, for which memory is taken only
// where this machine has no place that can be mapped. The trailer is looked at before anything is copied.
func (c *Cache) view(f *os.File, size int64) ([]byte, func(), error) {
	if data, err := c.mapFile(f, size); err == nil {
		return data, func() { unmapFile(data) }, nil
	}
	end := make([]byte, trailerSize+sumSize)
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return nil, nil, err
	}
	if string(end[:8]) != runMagic || [16]byte(end[12:28]) != c.Repo {
		return nil, nil, errNoRun
	}
	if data, err := mapCopy(f, size); err == nil {
		return data, func() { unmapFile(data) }, nil
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	return data, func() {}, nil
}

// mapCopy maps a copy of a file, where the system keeps files that are soon gone.
func mapCopy(f *os.File, size int64) ([]byte, error) {
	if !canMap {
		return nil, errors.ErrUnsupported
	}
	to, err := tempFile("", "run")
	if err != nil {
		return nil, err
	}
	defer discard(to)
	if !isLocal(to) {
		return nil, errors.ErrUnsupported
	}
	if n, err := io.Copy(to, io.NewSectionReader(f, 0, size)); err != nil || n < size {
		return nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return mapFile(to, size)
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
			if err == nil && (c.remote || !isLocal(f)) { // no use to write all of it there first
				err = errors.Join(errors.ErrUnsupported, f.Close(), os.Remove(f.Name()))
			}
			return &fileTarget{f: f, name: filepath.Join(c.Folder, runName)}, err
		})
	}
	return append(out, func() (target, error) {
		f, err := tempFile("", "run")
		if err == nil && !isLocal(f) {
			err = errors.Join(errors.ErrUnsupported, f.Close())
		}
		return &fileTarget{f: f, folder: c.Folder}, err
	}, memory)
}

// A fileTarget writes a file and maps it: under a name that others find it by, or under none, with a copy in a folder if there
// is one.
type fileTarget struct {
	f            *os.File
	name, folder string
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
	leave(t.folder, data)
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
	leave(t.folder, t.data)
	return t.data, func() {}, nil
}

// leave puts a run into a folder for others to find, if it can.
func leave(folder string, run []byte) {
	if folder == "" {
		return
	}
	f, err := os.CreateTemp(folder, tempPrefix+"run-*"+tempSuffix)
	if err != nil {
		return
	}
	_, err = f.Write(run)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(folder, runName))
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

func (t *memoryTarget) abandon() { t.data = nil }
