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

// runName is the run in a cache's folder. A new run is renamed over it; a process that has mapped the old one keeps
// it.
const runName = "index.run"

const (
	tempPrefix = "index-"
	tempSuffix = ".tmp"
	staleAge   = 24 * time.Hour // an older temporary file was left by a crash
)

// tempFile creates a temporary file in folder, or in the system's temporary folder if that fails. The file has no
// name, or discard removes it.
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

// sweep removes temporary files that crashes left.
func sweep(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleAge {
			os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// openRun returns the verified run of the cache. If it fails for any reason, the caller works without a run.
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

// view returns the bytes of a file in the cache's folder. It maps the file if possible, else a local copy; only if
// neither can be mapped does it read the file into memory. It checks the trailer before it copies anything.
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

// mapCopy maps a copy of a file in the system's temporary folder.
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

// own makes a run free its bytes when it is released or garbage collected.
func (r *run) own(free func()) *run {
	r.free = release(free)
	runtime.AddCleanup(r, func(free func()) { free() }, r.free)
	return r
}

// A target is where a run is written.
type target interface {
	write(p []byte) error
	finish() (data []byte, free func(), err error) // of the whole run
	abandon()
}

// targets returns the places for a run of at most size bytes, the best first; the last one always works. Without
// mappings, a file would have to be read back into memory. So there the run is built in memory, and then written to a
// file.
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
			if err == nil && (c.remote || !isLocal(f)) { // do not write all of it to a file that cannot be mapped
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

// A fileTarget writes a file and maps it. The file has a name that other processes open, or no name; then folder, if
// set, gets a copy.
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
		// No fsync: a power cut may leave any content, and the sums detect that.
		if err := os.Rename(t.f.Name(), t.name); err != nil {
			os.Remove(t.f.Name()) // the mapping stays
		}
	}
	publish(t.folder, data)
	t.f.Close()
	return data, func() { unmapFile(data) }, nil
}

func (t *fileTarget) abandon() {
	t.f.Close()
	if t.name != "" {
		os.Remove(t.f.Name())
	}
}

// A memoryTarget keeps a run in memory. If folder is set, it gets a copy.
type memoryTarget struct {
	folder string
	data   []byte
}

func (t *memoryTarget) write(p []byte) error {
	t.data = append(t.data, p...)
	return nil
}

func (t *memoryTarget) finish() ([]byte, func(), error) {
	publish(t.folder, t.data)
	return t.data, func() {}, nil
}

// publish tries to write a run into a folder, for other processes to open. They check its sums, so it need not be durable.
func publish(folder string, run []byte) {
	if folder != "" {
		_ = ReplaceFile(filepath.Join(folder, runName), run, false)
	}
}

func (t *memoryTarget) abandon() { t.data = nil }
