package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestGetInto checks that a read into the caller's memory returns what Get returns, and uses that memory if it can.
func TestGetInto(t *testing.T) {
	ctx := t.Context()
	data := []byte("some bytes of a pack")
	local, mem := storetest.OpenLocal(t, t.TempDir(), nil), new(store.Mem)
	for name, s := range map[string]store.Store{"local": local, "mem": mem, "faulty": &storetest.Faulty{Store: local}} {
		if err := s.Put(ctx, "packs/ab", data); err != nil {
			t.Fatal(err)
		}
		for off := int64(0); off < int64(len(data))+2; off++ {
			for n := int64(0); n < int64(len(data))+2; n++ {
				want, err := s.Get(ctx, "packs/ab", off, n)
				if err != nil {
					t.Fatal(err)
				}
				for _, dst := range [][]byte{nil, make([]byte, 3), bytes.Repeat([]byte("x"), 64)} {
					got, err := store.GetInto(ctx, s, dst, "packs/ab", off, n)
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%s: %d bytes from %d into %d = %q, %v; want %q", name, n, off, len(dst), got, err, want)
					}
					if _, ok := s.(store.Filler); ok && len(got) > 0 && len(dst) == 64 && &got[0] != &dst[0] {
						t.Fatalf("%s: it took other memory", name)
					}
				}
			}
		}
		dst := make([]byte, 8)
		if _, err := store.GetInto(ctx, s, dst, "packs/none", 0, 8); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: of no file it says %v", name, err)
		}
		if _, err := store.GetInto(ctx, s, dst, "../packs", 0, 8); !errors.Is(err, store.ErrBadName) {
			t.Errorf("%s: of a bad name it says %v", name, err)
		}
		for _, n := range []int64{-1, 8} {
			if _, err := store.GetInto(ctx, s, dst, "packs/ab", min(n, 0)-1, n); err == nil {
				t.Errorf("%s: a negative range is no error", name)
			}
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := store.GetInto(ended, s, dst, "packs/ab", 0, 8); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: when it was cancelled it says %v", name, err)
		}
	}
}
