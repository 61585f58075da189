package image

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"
)

// testDisk compares a disk with its expected content, from several goroutines at once.
func testDisk(t *testing.T, d Disk, want []byte) {
	t.Helper()
	if d.Size() != int64(len(want)) {
		t.Fatalf("Size() = %d, want %d", d.Size(), len(want))
	}
	testEnd(t, d)
	var g errgroup.Group
	for seed := range uint64(4) {
		g.Go(func() error { return checkExtents(d, want) })
		g.Go(func() error { return checkReads(d, want, rand.New(rand.NewPCG(seed, 1))) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// testEnd reads across and past the end.
func testEnd(t *testing.T, d Disk) {
	t.Helper()
	buf := make([]byte, 10)
	for _, off := range []int64{d.Size(), d.Size() + 1, 1 << 62} {
		if n, err := d.ReadAt(buf, off); n != 0 || err != io.EOF {
			t.Errorf("ReadAt(10 bytes, %d) = %d, %v; want 0, EOF", off, n, err)
		}
	}
	if off := d.Size() - 3; off >= 0 {
		if n, err := d.ReadAt(buf, off); n != 3 || err != io.EOF {
			t.Errorf("ReadAt(10 bytes, %d) = %d, %v; want 3, EOF", off, n, err)
		}
	}
	for _, off := range []int64{-1, -1 << 63} {
		if n, err := d.ReadAt(buf, off); n != 0 || err == nil || err == io.EOF {
			t.Errorf("ReadAt(10 bytes, %d) = %d, %v; want an error", off, n, err)
		}
	}
}

// checkExtents returns an error for gaps, neighbours of the same kind, and zero extents with data.
func checkExtents(d Disk, want []byte) error {
	off, last := int64(0), Extent{}
	for e, err := range d.Extents() {
		switch {
		case err != nil:
			return err
		case e.Off != off || e.Len <= 0 || e.Len > d.Size()-off:
			return errors.New("extents do not cover the disk in order")
		case off > 0 && e.Zero == last.Zero:
			return errors.New("neighbouring extents of the same kind")
		case e.Zero && !isZero(want[e.Off:e.Off+e.Len]):
			return errors.New("a zero extent where there is data")
		}
		off, last = off+e.Len, e
	}
	if off != d.Size() {
		return errors.New("extents do not reach the end of the disk")
	}
	for range d.Extents() { // after a break the iterator must not yield again: the runtime panics
		break
	}
	return nil
}

func checkReads(d Disk, want []byte, rng *rand.Rand) error {
	got := make([]byte, len(want))
	if n, err := d.ReadAt(got, 0); len(want) > 0 && (n != len(want) || err != nil) || !bytes.Equal(got, want) {
		return errors.New("the disk as a whole reads wrongly")
	}
	for range 50 {
		off := rng.IntN(len(want) + 1)
		got := got[:rng.IntN(min(len(want)-off, 1<<16)+1)]
		clear(got)
		if _, err := d.ReadAt(got, int64(off)); len(got) > 0 && err != nil {
			return err
		}
		if !bytes.Equal(got, want[off:off+len(got)]) {
			return errors.New("part of the disk reads wrongly")
		}
	}
	return nil
}

// randomDisk returns size bytes with runs of zeros, on block boundaries and off them.
func randomDisk(rng *rand.Rand, size int) []byte {
	data := make([]byte, size)
	for off := 0; off < size; {
		n := min(rng.IntN(40*blockLen)+1, size-off)
		if rng.IntN(2) == 0 {
			n = min((n+blockLen-1)/blockLen*blockLen, size-off)
		}
		if rng.IntN(2) == 0 {
			Fill{Seed: rng.Uint64()}.read(data[off:off+n], 0)
		}
		off += n
	}
	return data
}

func collect(t *testing.T, d Disk) []Extent {
	t.Helper()
	var all []Extent
	for e, err := range d.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func wantExtents(t *testing.T, d Disk, want ...Extent) {
	t.Helper()
	if got := collect(t, d); !slices.Equal(got, want) {
		t.Errorf("extents %v, want %v", got, want)
	}
}

func TestMem(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 511, 4096, 4097, 1<<20 + 3} {
		data := randomDisk(rng, size)
		testDisk(t, Mem{Data: data}, data)
		testDisk(t, Mem{Data: data, Holes: true}, data)
	}
	data := make([]byte, 3*blockLen+1)
	data[blockLen] = 1
	wantExtents(t, Mem{Data: data}, Extent{Len: 3*blockLen + 1})
	wantExtents(t, Mem{Data: data, Holes: true},
		Extent{Len: blockLen, Zero: true}, Extent{Off: blockLen, Len: blockLen},
		Extent{Off: 2 * blockLen, Len: blockLen + 1, Zero: true})
}

func TestSparse(t *testing.T) {
	const mib = 1 << 20
	fills := []Fill{{0, 4097, 1}, {4097, 3, 2}, {10000, 0, 9}, {mib, mib + 3, 1}, {4*mib - 7, 7, 3}}
	want := make([]byte, 4*mib)
	for _, f := range fills {
		f.read(want[f.Off:f.Off+f.Len], 0)
	}
	if !bytes.Equal(want[:4097], want[mib:mib+4097]) || bytes.Equal(want[:3], want[4097:4100]) {
		t.Error("a fill's content must depend on its seed only")
	}
	d := Sparse{Bytes: 4 * mib, Fills: fills}
	testDisk(t, d, want)
	wantExtents(t, d, Extent{Len: 4100}, Extent{Off: 4100, Len: mib - 4100, Zero: true}, Extent{Off: mib, Len: mib + 3},
		Extent{Off: 2*mib + 3, Len: 2*mib - 10, Zero: true}, Extent{Off: 4*mib - 7, Len: 7})

	huge := Sparse{Bytes: 8 << 40, Fills: []Fill{{Off: 7 << 40, Len: mib, Seed: 1}}}
	got := make([]byte, mib+2)
	if _, err := huge.ReadAt(got, 7<<40-1); err != nil || got[0] != 0 || !bytes.Equal(got[1:4098], want[:4097]) {
		t.Errorf("8 TiB disk reads wrongly: %v", err)
	}
}

func TestSparseRefusesItsOwnMistakes(t *testing.T) {
	for _, fills := range [][]Fill{{{0, 2, 1}, {1, 2, 1}}, {{4, 1, 1}, {0, 1, 1}}, {{9, 2, 1}}, {{-1, 2, 1}}, {{0, -1, 1}}} {
		var err error
		for _, err = range (Sparse{Bytes: 10, Fills: fills}).Extents() {
		}
		if err == nil {
			t.Errorf("fills %v: no error", fills)
		}
	}
}

func TestJoinedYieldsWhatCameBeforeAnError(t *testing.T) {
	broken := errors.New("broken")
	disk := Joined(func(yield func(Extent, error) bool) {
		_ = yield(Extent{Len: 1}, nil) && yield(Extent{}, nil) && yield(Extent{Off: 1, Len: 2}, nil) &&
			yield(Extent{}, broken) && yield(Extent{Off: 3, Len: 1}, nil)
	})
	var all []Extent
	var errs []error
	for e, err := range disk {
		all, errs = append(all, e), append(errs, err)
	}
	if !slices.Equal(all, []Extent{{Len: 3}, {}}) || !slices.Equal(errs, []error{nil, broken}) {
		t.Errorf("got %v %v", all, errs)
	}
}
