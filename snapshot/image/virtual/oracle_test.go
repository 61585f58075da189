package virtual

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// qemuImg runs qemu-img, the oracle of all formats, in a folder, and returns its output.
func qemuImg(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := oracle.Command(t, "qemu-img", args...)
	cmd.Dir = dir
	return oracle.Output(t, cmd)
}

// randomDisk makes a disk in memory with runs of zeros, compressible text and noise, aligned to clusters or not.
func randomDisk(rng *rand.Rand, size int) image.Mem {
	data := make([]byte, size)
	for off := 0; off < size; {
		n := min(rng.IntN(1<<[]int{10, 16, 20}[rng.IntN(3)])+1, size-off)
		if rng.IntN(2) == 0 {
			n = min((n+4095)/4096*4096, size-off)
		}
		run := data[off : off+n]
		switch rng.IntN(3) {
		case 0:
			noise(rng, run)
		case 1:
			for i := range run {
				run[i] = "All the world's a stage, "[(off+i)%25]
			}
		}
		off += n
	}
	return image.Mem{Data: data, Holes: true}
}

// noise fills p with incompressible bytes.
func noise(rng *rand.Rand, p []byte) {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rng.Uint32())
	}
	_, _ = rand.NewChaCha8(seed).Read(p) // never fails
}

// writeRaw writes a disk to a raw file with holes, and returns its path.
func writeRaw(t testing.TB, dir string, d image.Mem) string {
	t.Helper()
	path := filepath.Join(dir, "disk.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for e := range d.Extents() {
		if !e.Zero {
			if _, err := f.WriteAt(d.Data[e.Off:e.Off+e.Len], e.Off); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(f.Truncate(d.Size()), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// mustOpen opens a file that must be detected as the format name.
func mustOpen(t testing.TB, path, name string, o Options) *Disk {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := Detect(f); err != nil || found != name {
		t.Errorf("%s is detected as %q (%v), want %q", path, found, err, name)
	}
	d, err := Open(f, name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// compare compares a disk with its expected content: whole, by extents, and in reads from several goroutines.
func compare(t testing.TB, d image.Disk, want []byte) {
	t.Helper()
	if d.Size() != int64(len(want)) {
		t.Fatalf("Size() = %d, want %d", d.Size(), len(want))
	}
	buf := make([]byte, 10)
	for _, off := range []int64{d.Size(), d.Size() + 1, 1 << 62} {
		if n, err := d.ReadAt(buf, off); n != 0 || err != io.EOF {
			t.Errorf("ReadAt(10 bytes, %d) = %d, %v; want 0, EOF", off, n, err)
		}
	}
	if n, err := d.ReadAt(buf, -1); n != 0 || err == nil || err == io.EOF {
		t.Errorf("ReadAt(10 bytes, -1) = %d, %v; want an error", n, err)
	}
	var g errgroup.Group
	for seed := range uint64(3) {
		g.Go(func() error { return compareExtents(d, want) })
		g.Go(func() error { return compareReads(d, want, rand.New(rand.NewPCG(seed, 1))) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func compareExtents(d image.Disk, want []byte) error {
	at, last := int64(0), image.Extent{}
	for e, err := range d.Extents() {
		switch {
		case err != nil:
			return err
		case e.Off != at || e.Len <= 0 || e.Len > d.Size()-at:
			return errors.New("extents do not cover the disk in order")
		case at > 0 && e.Zero == last.Zero:
			return errors.New("neighbouring extents of one kind")
		case e.Zero && !chunk.IsZero(want[e.Off:e.Off+e.Len]):
			return errors.New("a zero extent where there is data")
		}
		at, last = at+e.Len, e
	}
	if at != d.Size() {
		return errors.New("extents do not reach the end of the disk")
	}
	for range d.Extents() { // the iteration must stop when its consumer does: otherwise the runtime panics
		break
	}
	return nil
}

func compareReads(d image.Disk, want []byte, rng *rand.Rand) error {
	got := make([]byte, len(want))
	if n, err := d.ReadAt(got, 0); n != len(want) || err != nil && err != io.EOF {
		return errors.Join(errors.New("the disk as a whole cannot be read"), err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("the disk as a whole reads wrongly")
	}
	for range 50 {
		off := rng.IntN(len(want) + 1)
		got := got[:rng.IntN(min(len(want)-off, 1<<18)+1)]
		clear(got)
		if _, err := d.ReadAt(got, int64(off)); len(got) > 0 && err != nil && err != io.EOF {
			return err
		}
		if !bytes.Equal(got, want[off:off+len(got)]) {
			return errors.New("a part of the disk reads wrongly")
		}
	}
	return nil
}

// writeAs writes a disk with Create in pieces of all lengths, and returns the file's path.
func writeAs(t testing.TB, dir, name string, d image.Mem, o CreateOptions) string {
	t.Helper()
	path := filepath.Join(dir, "disk."+name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	o.Extents = d.Extents
	w, err := Create(f, name, d.Size(), o)
	if err == nil {
		err = feed(w, d)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func feed(w Writer, d image.Mem) error {
	rng := rand.New(rand.NewPCG(uint64(d.Size()), 2))
	for e := range d.Extents() {
		for e.Len > 0 {
			n := min(e.Len, rng.Int64N(3<<20)+1)
			var err error
			if e.Zero {
				err = w.Skip(n)
			} else {
				_, err = w.Write(d.Data[e.Off : e.Off+n])
			}
			if err != nil {
				return err
			}
			e.Off, e.Len = e.Off+n, e.Len-n
		}
	}
	return w.Close()
}

// qemuIO runs qemu-io commands on an image of a format, as a guest would write to it.
func qemuIO(t testing.TB, path, format string, commands ...string) {
	t.Helper()
	args := []string{"-f", format, "-t", "unsafe"} // no syncs
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := oracle.Command(t, "qemu-io", append(args, path)...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("failed")) || bytes.Contains(out, []byte("rror")) {
		t.Fatalf("qemu-io %q: %v\n%s", args, err, out)
	}
}

// readAll reads the data of a disk as a backup does: in pieces of 1 MiB, several at a time.
func readAll(b *testing.B, d image.Disk, readers int) {
	const piece = 1 << 20
	pieces := make(chan image.Extent, 16)
	var g errgroup.Group
	var total atomic.Int64
	for range readers {
		g.Go(func() error {
			buf := make([]byte, piece)
			for e := range pieces {
				n, err := d.ReadAt(buf[:e.Len], e.Off)
				if total.Add(int64(n)); n < int(e.Len) {
					return err
				}
			}
			return nil
		})
	}
	for e, err := range d.Extents() {
		if err != nil {
			b.Error(err)
			break
		}
		for !e.Zero && e.Len > 0 {
			n := min(e.Len, piece-e.Off%piece)
			pieces <- image.Extent{Off: e.Off, Len: n}
			e.Off, e.Len = e.Off+n, e.Len-n
		}
	}
	close(pieces)
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
