package fuse

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// holes returns the extents that SEEK_DATA and SEEK_HOLE find.
func holes(t testing.TB, path string) (found []image.Extent) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off < info.Size(); {
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data = info.Size()
		} else if err != nil {
			t.Fatal(err)
		}
		if data > off {
			found = append(found, image.Extent{Off: off, Len: data - off, Zero: true})
		}
		if data == info.Size() {
			break
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, image.Extent{Off: data, Len: hole - data})
		off = hole
	}
	return found
}

// TestHoles copies a disk of 1 TiB, which works only if the copying program finds the holes.
func TestHoles(t *testing.T) {
	disk := image.Sparse{Bytes: 1<<40 + 77, Fills: []image.Fill{
		{Off: 8192, Len: 4096, Seed: 1}, {Off: 12288, Len: 1, Seed: 2}, {Off: 1 << 30, Len: 1 << 20, Seed: 3}, {Off: 1 << 40, Len: 77, Seed: 4},
	}}
	want := []image.Extent{
		{Len: 8192, Zero: true},
		{Off: 8192, Len: 4097},
		{Off: 12289, Len: 1<<30 - 12289, Zero: true},
		{Off: 1 << 30, Len: 1 << 20},
		{Off: 1<<30 + 1<<20, Len: 1<<40 - 1<<30 - 1<<20, Zero: true},
		{Off: 1 << 40, Len: 77},
	}
	c, v := newShelf(), Version{ID: "v", Time: noon}
	unknown, known := of("unknown.img", disk), of("known.img", disk)
	known.Data = 4097 + 1<<20 + 77
	c.add("disk", v, unknown, known, of("zero.img", image.Sparse{Bytes: 1 << 40}), mem("full.img", noise(10000, 5)))
	dir, _ := mount(t, c, Options{Version: &v})
	for _, name := range []string{"unknown.img", "known.img"} {
		path, target := filepath.Join(dir, name), filepath.Join(t.TempDir(), "copy")
		wantExtents(t, path, want)
		oracle.Run(t, "cp", "--sparse=auto", path, target)
		copied, err := os.Open(target)
		if err != nil {
			t.Fatal(err)
		}
		defer copied.Close()
		for _, fill := range disk.Fills {
			got, want := make([]byte, fill.Len), make([]byte, fill.Len)
			_, err := copied.ReadAt(got, fill.Off)
			_, err2 := disk.ReadAt(want, fill.Off)
			if !bytes.Equal(got, want) || err != nil || err2 != nil {
				t.Errorf("%s: the copy is wrong at %d: %v, %v", name, fill.Off, err, err2)
			}
		}
		if info, err := copied.Stat(); err != nil || info.Size() != disk.Bytes {
			t.Errorf("%s: the copy has %d bytes, %v", name, info.Size(), err)
		}
	}
	oracle.Run(t, "tar", "-C", dir, "--sparse", "-cf", filepath.Join(t.TempDir(), "tar"), "known.img", "unknown.img", "zero.img")
	wantExtents(t, filepath.Join(dir, "zero.img"), []image.Extent{{Len: 1 << 40, Zero: true}})
	wantExtents(t, filepath.Join(dir, "full.img"), []image.Extent{{Len: 10000}})
	f, err := os.Open(filepath.Join(dir, "full.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
		if off, err := unix.Seek(int(f.Fd()), 10000, whence); !errors.Is(err, unix.ENXIO) {
			t.Errorf("seeking %d from the end on: %d, %v", whence, off, err)
		}
	}
	if end, err := f.Seek(0, io.SeekEnd); end != 10000 || err != nil {
		t.Errorf("the end is at %d, %v", end, err)
	}
}

func wantExtents(t testing.TB, path string, want []image.Extent) {
	t.Helper()
	got := holes(t, path)
	for i := range max(len(got), len(want)) {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("%s: holes and data are\n%v, want\n%v", path, got, want)
		}
	}
}

func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		size, data int64
		mayChange  bool
		want       uint64
	}{
		{0, 0, false, 0},
		{0, -1, false, 0},
		{1, 1, false, 1},
		{1, -1, false, 1},
		{513, -1, false, 1},
		{4096, -1, false, 7},
		{4096 + 77, -1, false, 7},
		{4096, 4096, false, 8},
		{4096, 0, false, 0},
		{4096, 0, true, 7},
		{4096, 513, false, 2},
		{4096, 1 << 40, false, 8},
	} {
		if got := blocks(File{Size: c.size, Data: c.data}, c.mayChange); got != c.want {
			t.Errorf("%+v: %d blocks", c, got)
		}
	}
}

// A damaged disk cannot be read from one byte to another while it is bad. It blocks reads while it is held.
type damaged struct {
	image.Mem
	from, to int64
	bad      atomic.Bool
	held     chan struct{} // a read waits until it is closed, or its context ends; nil: none waits
	reading  chan struct{} // gets a value for each read that waits
}

func (d *damaged) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if d.held != nil {
		d.reading <- struct{}{}
		select {
		case <-d.held:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	if d.bad.Load() && off < d.to && off+int64(len(p)) > d.from {
		return 0, image.ErrUnreadable
	}
	return d.Mem.ReadAt(p, off)
}

func (d *damaged) ExtentsIn(context.Context, int64, int64) iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) { yield(image.Extent{}, errors.New("no map")) }
}

// TestUnreadable checks that each page but the bad ones can be read, and the bad ones too when they are good again.
func TestUnreadable(t *testing.T) {
	const from, to = 65536, 65536 + 8192
	data := noise(1<<20, 6)
	disk := &damaged{Mem: image.Mem{Data: data}, from: from, to: to}
	disk.bad.Store(true)
	var reports sync.Map
	path, _ := mountDisk(t, disk, Options{Report: func(file string, err error) { reports.Store(file, err) }})
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for off := int64(0); off < int64(len(data)); off += int64(len(page)) {
		_, err := f.ReadAt(page, off)
		switch inside := off >= from && off < to; {
		case inside && !errors.Is(err, unix.EIO):
			t.Errorf("a bad page: %v", err)
		case !inside && (err != nil || !bytes.Equal(page, data[off:off+int64(len(page))])):
			t.Errorf("a good page at %d: %v", off, err)
		}
	}
	if all, err := os.ReadFile(path); !errors.Is(err, unix.EIO) || !bytes.Equal(all, data[:len(all)]) || len(all) > from {
		t.Errorf("reading all: %d bytes, %v", len(all), err)
	}
	direct, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	if n, err := direct.ReadAt(make([]byte, 1<<20), 0); n != 0 || !errors.Is(err, unix.EIO) {
		t.Errorf("a direct read across a bad page: %d bytes, %v", n, err)
	}
	if _, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE); !errors.Is(err, unix.EIO) {
		t.Errorf("seeking a hole in a disk whose map is bad: %v", err)
	}
	if err, _ := reports.Load("disk.img"); err == nil || !errors.Is(err.(error), image.ErrUnreadable) && err.(error).Error() != "find holes from 0 on: no map" {
		t.Errorf("reported was %v", err)
	}
	disk.bad.Store(false)
	if all, err := os.ReadFile(path); err != nil || !bytes.Equal(all, data) {
		t.Errorf("when the disk is good again: %d bytes, %v", len(all), err)
	}
}

// TestOpenFails checks that a failure to list or to open is an I/O error, and gone when its cause is.
func TestOpenFails(t *testing.T) {
	c := newShelf()
	var fixed atomic.Bool
	var opened, closed atomic.Int64
	file := mem("disk.img", []byte("data"))
	file.Open = func(context.Context) (image.Disk, error) {
		if !fixed.Load() {
			return nil, errors.New("not now")
		}
		opened.Add(1)
		return &closing{image.Mem{Data: []byte("data")}, &closed}, nil
	}
	short := mem("short.img", []byte("data"))
	short.Size++
	panics := mem("panics.img", []byte("data"))
	panics.Open = func(context.Context) (image.Disk, error) { panic("a fault") }
	c.add("disk", Version{ID: "v", Time: noon}, file, short, panics)
	dir, s := mount(t, c, Options{})
	c.fail(errors.New("the store is away"))
	if _, err := os.ReadDir(dir); !errors.Is(err, unix.EIO) {
		t.Errorf("a list that fails: %v", err)
	}
	if _, err := stat(dir, unix.AT_STATX_FORCE_SYNC); err != nil {
		t.Errorf("the mount point of a catalog that fails: %v", err)
	}
	if _, err := os.Stat(dir + "/disk"); !errors.Is(err, unix.EIO) {
		t.Errorf("a look into a list that fails: %v", err)
	}
	c.fail(nil)
	for _, name := range []string{"disk.img", "short.img", "panics.img"} {
		if _, err := os.ReadFile(dir + "/disk/latest/" + name); !errors.Is(err, unix.EIO) {
			t.Errorf("%s, which does not open: %v", name, err)
		}
	}
	fixed.Store(true)
	for range 3 {
		if data, err := os.ReadFile(dir + "/disk/latest/disk.img"); string(data) != "data" || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
	}
	if err := s.Unmount(); err != nil {
		t.Fatal(err)
	}
	if o, c := opened.Load(), closed.Load(); o == 0 || o != c {
		t.Errorf("opened %d times, closed %d times", o, c)
	}
}

type closing struct {
	image.Mem
	closed *atomic.Int64
}

func (c *closing) Close() error {
	c.closed.Add(1)
	return nil
}

// TestNewVersions checks that versions come and go in a mounted folder.
func TestNewVersions(t *testing.T) {
	c := newShelf()
	c.add("disk", Version{ID: "a", Time: noon}, mem("disk.img", []byte("one")))
	dir, _ := mount(t, c, Options{})
	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name, "disk.img"))
		if err != nil {
			return err.(*os.PathError).Err.Error()
		}
		return string(data)
	}
	const second = "disk/2026-03-01T13-00-00Z"
	if got := read("disk/latest") + ", " + read(second) + ", " + read("new"); got != "one, no such file or directory, no such file or directory" {
		t.Errorf("before: %s", got)
	}
	c.add("disk", Version{ID: "b", Time: noon.Add(time.Hour)}, mem("disk.img", []byte("two")))
	c.add("new", Version{ID: "c", Time: noon}, mem("disk.img", []byte("three")))
	if got := read("disk/latest") + ", " + read(second) + ", " + read("new/latest"); got != "two, two, three" {
		t.Errorf("after: %s", got)
	}
	kept, err := os.Open(filepath.Join(dir, second, "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	// Another version gets the name of a deleted one. A program that has the old one open goes on reading it.
	c.mu.Lock()
	c.versions["disk"] = []Version{{ID: "d", Time: noon.Add(time.Hour)}}
	c.files["d"] = []File{mem("disk.img", []byte("four!"))}
	c.mu.Unlock()
	got := ""
	for range 1_000_000 { // the kernel rounds the time that it may rely on a name up to a tick of its clock
		if got = read("disk/latest") + ", " + read(second); got == "four!, four!" {
			break
		}
	}
	if got != "four!, four!" {
		t.Errorf("at last: %s", got)
	}
	if data, err := io.ReadAll(kept); string(data) != "two" || err != nil {
		t.Errorf("the deleted version: %q, %v", data, err)
	}
}
