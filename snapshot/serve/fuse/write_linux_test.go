package fuse

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"platter/snapshot/image"
)

// A board is a disk in memory that can be written.
type board struct {
	syncs atomic.Int64
	full  atomic.Bool // writes fail
	bad   atomic.Bool // syncs fail

	mu   sync.RWMutex
	data []byte
}

var _ image.Writable = (*board)(nil)

// bytes returns a copy of what the disk holds.
func (b *board) bytes() []byte {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return bytes.Clone(b.data)
}

func (b *board) Size() int64 { return int64(len(b.data)) }

func (b *board) ReadAt(p []byte, off int64) (int, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return bytes.NewReader(b.data).ReadAt(p, off)
}

func (b *board) ReadAtContext(_ context.Context, p []byte, off int64) (int, error) {
	return b.ReadAt(p, off)
}

func (b *board) Extents() iter.Seq2[image.Extent, error] {
	return image.Mem{Data: b.bytes(), Holes: true}.Extents()
}

func (b *board) ExtentsIn(ctx context.Context, off, n int64) iter.Seq2[image.Extent, error] {
	return image.ExtentsIn(ctx, image.Mem{Data: b.bytes(), Holes: true}, off, n)
}

func (b *board) WriteAt(p []byte, off int64) (int, error) {
	if b.full.Load() {
		return 0, unix.ENOSPC
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := copy(b.data[off:], p); n < len(p) {
		return n, io.ErrShortWrite
	}
	return len(p), nil
}

func (b *board) Zero(off, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.data[off : off+n])
	return nil
}

func (b *board) Sync() error {
	b.syncs.Add(1)
	if b.bad.Load() {
		return errors.New("not durable")
	}
	return nil
}

// TestWrites writes at random from several goroutines, each to its own part, and compares with a model.
func TestWrites(t *testing.T) {
	const part = 1<<20 + 513
	disk := &board{data: noise(4*part, 1)}
	model := bytes.Clone(disk.data)
	path, s := mountDisk(t, disk, Options{Writable: true})
	var writers errgroup.Group
	for i := range 4 {
		writers.Go(func() error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			mine, base := model[i*part:(i+1)*part], int64(i*part)
			random := rand.New(rand.NewPCG(uint64(i), 7))
			for k := range 200 {
				off := random.IntN(part)
				n := min(part-off, random.IntN(1<<random.IntN(19)+1)+1)
				switch at := base + int64(off); k % 4 {
				case 0:
					mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
					if k%8 == 0 {
						mode = unix.FALLOC_FL_ZERO_RANGE
					}
					clear(mine[off : off+n])
					err = unix.Fallocate(int(f.Fd()), mode, at, int64(n))
				case 1:
					got := make([]byte, n)
					if _, err = f.ReadAt(got, at); err == nil && !bytes.Equal(got, mine[off:off+n]) {
						err = errors.New("it reads what it has not written")
					}
				default:
					copy(mine[off:], noise(n, uint64(i*1000+k)))
					_, err = f.WriteAt(mine[off:off+n], at)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, model) || !bytes.Equal(disk.bytes(), model) {
		t.Errorf("the disk is not as the model: %v", err)
	}
	if disk.syncs.Load() == 0 {
		t.Error("closing a file did not sync it")
	}
	if err := s.Unmount(); err != nil {
		t.Error(err)
	}
}

func TestWritableFile(t *testing.T) {
	data := noise(10000, 2)
	disk := &board{data: bytes.Clone(data)}
	path, _ := mountDisk(t, disk, Options{Writable: true})
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil || before.Mode() != 0o600 || !before.ModTime().Equal(noon) {
		t.Errorf("before: %v, %v", before, err)
	}
	wantErr := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, not %v", what, err, want)
		}
	}
	wantErr("making it shorter", f.Truncate(9999), unix.EPERM)
	wantErr("making it longer", f.Truncate(10001), unix.EFBIG)
	wantErr("the size that it has", f.Truncate(10000), nil)
	_, err = os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	wantErr("O_TRUNC", err, unix.EPERM)
	if out, err := exec.Command("sh", "-c", "echo x > "+path).CombinedOutput(); err == nil {
		t.Errorf("a shell emptied the disk: %s", out)
	}
	wantErr("remove", os.Remove(path), unix.EPERM)
	wantErr("rename", os.Rename(path, path+"2"), unix.EPERM)
	wantErr("chmod", os.Chmod(path, 0o777), unix.EPERM)
	wantErr("chmod of the folder", os.Chmod(filepath.Dir(path), 0o777), unix.EPERM)
	wantErr("chtimes", os.Chtimes(path, noon, noon), unix.EPERM)
	wantErr("a new file", os.WriteFile(path+"2", nil, 0o600), unix.EROFS)
	if err := os.Mkdir(path+"2", 0o700); err == nil {
		t.Error("made a folder")
	}
	wantErr("preallocation", unix.Fallocate(int(f.Fd()), 0, 0, 100), unix.EOPNOTSUPP)
	wantErr("zeros over the end", unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE, 9000, 1001), unix.EFBIG)
	wantErr("a hole past the end", unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 20000, 1), nil)
	if !bytes.Equal(disk.bytes(), data) {
		t.Fatal("something of that changed the disk")
	}
	n, err := unix.Pwrite(int(f.Fd()), []byte("abcdef"), 9996)
	if want := append(data[:9996:9996], "abcd"...); n != 4 || err != nil || !bytes.Equal(disk.bytes(), want) {
		t.Errorf("a write over the end wrote %d bytes, %v", n, err)
	}
	_, err = f.WriteAt([]byte("x"), 10000)
	wantErr("a write at the end", err, unix.ENOSPC)
	wantErr("a hole over the end", unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 9998, 9998), nil)
	if !bytes.HasSuffix(disk.bytes(), []byte("ab\x00\x00")) {
		t.Errorf("it ends in %q", disk.bytes()[9990:])
	}
	if after, err := f.Stat(); err != nil || !after.ModTime().After(noon) || after.Size() != 10000 {
		t.Errorf("after a write: %v, %v", after, err)
	}
	disk.full.Store(true)
	_, err = f.WriteAt([]byte("x"), 0)
	wantErr("no room", err, unix.ENOSPC)
	disk.full.Store(false)
	disk.bad.Store(true)
	wantErr("a sync that fails", f.Sync(), unix.EIO)
	wantErr("a close that syncs and fails", f.Close(), unix.EIO)
}

// TestReadOnly checks that nothing can be written unless the mount and the file allow it.
func TestReadOnly(t *testing.T) {
	disk := &board{data: make([]byte, 100)}
	path, _ := mountDisk(t, disk, Options{})
	if _, err := os.OpenFile(path, os.O_RDWR, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("a mount that is not writable: %v", err)
	}
	path, _ = mountDisk(t, image.Mem{Data: make([]byte, 100)}, Options{Writable: true})
	if _, err := os.OpenFile(path, os.O_RDWR, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("a file that is not writable: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o400 {
		t.Errorf("a file that is not writable: %v, %v", info.Mode(), err)
	}
	c, v := newShelf(), Version{ID: "v"}
	liar := mem("disk.img", []byte("data"))
	liar.Writable = true
	c.add("disk", v, liar)
	dir, _ := mount(t, c, Options{Version: &v, Writable: true})
	if _, err := os.OpenFile(dir+"/disk.img", os.O_RDONLY, 0); !errors.Is(err, unix.EIO) {
		t.Errorf("a disk that is not writable, and ought to be: %v", err)
	}
}

// TestPartitionSeesWrites checks that a write to a disk is seen through its partition's file, even one open already.
func TestPartitionSeesWrites(t *testing.T) {
	disk := &board{data: make([]byte, 1<<20)}
	part, err := image.NewSection(disk, 1<<19, 1<<19)
	if err != nil {
		t.Fatal(err)
	}
	whole := of("disk.img", disk)
	whole.Writable = true
	c, v := newShelf(), Version{ID: "v"}
	c.add("disk", v, whole, of("p1.img", part))
	dir, _ := mount(t, c, Options{Version: &v, Writable: true})
	f, err := os.Open(dir + "/p1.img")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 4096)
	for i := range 3 {
		if _, err := f.ReadAt(p, 0); err != nil || p[0] != byte(i) {
			t.Fatalf("read %d, %v", p[0], err)
		}
		g, err := os.OpenFile(dir+"/disk.img", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.WriteAt([]byte{byte(i + 1)}, 1<<19); err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
