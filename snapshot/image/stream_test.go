package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func mustStream(t *testing.T, ctx context.Context, f *os.File) *Stream {
	t.Helper()
	s, err := OpenStream(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

func TestStreamOfFile(t *testing.T) {
	for _, size := range []int{0, 1, 4097, 1<<20 + 3} {
		want := make([]byte, size)
		Fill{Seed: 1}.read(want, 0)
		f, err := os.Open(writeSparse(t, want))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		got, err := io.ReadAll(mustStream(t, t.Context(), f))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
	}
}

func TestStreamOfPipe(t *testing.T) {
	want := make([]byte, 1<<20+3)
	Fill{Seed: 1}.read(want, 0)
	r, w := mustPipe(t)
	written := make(chan error)
	go func() {
		_, err := w.Write(want)
		written <- errors.Join(err, w.Close())
	}()
	got, err := io.ReadAll(mustStream(t, t.Context(), r))
	if err := errors.Join(err, <-written); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestStreamOfDoneContext(t *testing.T) {
	r, w := mustPipe(t)
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := mustStream(t, ctx, r).Read(make([]byte, 1)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %d, %v", n, err)
	}
}

func TestStreamOfFolder(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := OpenStream(t.Context(), f); err == nil || !strings.Contains(err.Error(), "is a folder: redirect") {
		t.Errorf("got %v", err)
	}
}

func TestStreamOfClosedFile(t *testing.T) {
	r, _ := mustPipe(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStream(t.Context(), r); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
