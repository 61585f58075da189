package image_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"testing"

	"platter/snapshot/image"
)

// TestSection compares sections of a disk with the same bytes of a slice, read and extents alike.
func TestSection(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	whole := make([]byte, 40<<10)
	for at := 0; at < len(whole); at += 4096 {
		if random.IntN(2) == 0 {
			for i := range whole[at:][:4096] {
				whole[at+i] = byte(random.Uint32()) | 1
			}
		}
	}
	disk := image.Mem{Data: whole, Holes: true}
	for range 500 {
		off := random.IntN(len(whole) + 1)
		n := random.IntN(len(whole) - off + 1)
		s, err := image.NewSection(disk, int64(off), int64(n))
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.NewReader(whole[off:][:n])
		p, q := make([]byte, random.IntN(n+10)), []byte(nil)
		at := random.IntN(n + 5)
		q = make([]byte, len(p))
		gotN, gotErr := s.ReadAtContext(t.Context(), p, int64(at))
		wantN, wantErr := want.ReadAt(q, int64(at))
		if gotN != wantN || !bytes.Equal(p, q) || len(p) > 0 && !errors.Is(gotErr, wantErr) {
			t.Fatalf("section %d+%d, read %d at %d: %d %v, want %d %v", off, n, len(p), at, gotN, gotErr, wantN, wantErr)
		}
		from := random.IntN(n + 1)
		length := random.IntN(n - from + 1)
		end := int64(from)
		for e, err := range s.ExtentsIn(t.Context(), int64(from), int64(length)) {
			if err != nil || e.Off != end || e.Len <= 0 {
				t.Fatalf("extent %+v after %d: %v", e, end, err)
			}
			if end += e.Len; e.Zero && bytes.ContainsFunc(whole[off:][e.Off:end], func(r rune) bool { return r != 0 }) {
				t.Fatalf("%+v is not zero", e)
			}
		}
		if end != int64(from+length) {
			t.Fatalf("the extents of %d+%d end at %d", from, length, end)
		}
	}
	for _, bad := range [][2]int64{{-1, 1}, {0, -1}, {0, int64(len(whole)) + 1}, {int64(len(whole)), 1}} {
		if _, err := image.NewSection(disk, bad[0], bad[1]); err == nil {
			t.Errorf("a section of %d bytes at %d", bad[1], bad[0])
		}
	}
}

// plain hides what a disk can do beyond being a Disk.
type plain struct {
	size int64
	read func(p []byte, off int64) (int, error)
	all  iter.Seq2[image.Extent, error]
}

func (d plain) Size() int64                             { return d.size }
func (d plain) ReadAt(p []byte, off int64) (int, error) { return d.read(p, off) }
func (d plain) Extents() iter.Seq2[image.Extent, error] { return d.all }

// TestServeFallbacks checks that ReadAt and ExtentsIn look at the context of a disk that has no use for one.
func TestServeFallbacks(t *testing.T) {
	mem := image.Mem{Data: make([]byte, 8192)}
	disk := plain{mem.Size(), mem.ReadAt, mem.Extents()}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := image.ReadAt(ended, disk, make([]byte, 1), 0); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := image.ReadAt(t.Context(), disk, make([]byte, 2), 8191); n != 1 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
	for _, err := range image.ExtentsIn(ended, disk, 0, 10) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("extents: %v", err)
		}
	}
}
