package repo

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"platter/chunk"
	"platter/repo/crypt"
	"platter/repo/store"
)

// cheap is the least cost. It lets tests open hundreds of repositories.
var cheap = crypt.Cost{Time: 1, Memory: 8, Lanes: 1}

func testRepo(t testing.TB, s store.Store) *Repo {
	t.Helper()
	settings := DefaultSettings
	settings.PackSize, settings.FrameSize = MinPackSize, MinPackSize // one frame per pack
	r, err := Init(context.Background(), s, []byte("pw"), cheap, "test", settings)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func reopen(t testing.TB, s store.Store) *Repo {
	t.Helper()
	r, err := Open(context.Background(), s, []byte("pw"))
	if err == nil {
		err = r.LoadIndex(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSaveAndLoad(t *testing.T) {
	ctx := context.Background()
	s := new(store.Mem)
	r := testRepo(t, s)
	rnd := rand.NewChaCha8([32]byte{1})
	var chunks [][]byte
	var ids []chunk.ID
	for i := range 400 {
		c := make([]byte, 1+rnd.Uint64()%40000)
		if i%3 > 0 {
			rnd.Read(c)
		}
		chunks = append(chunks, c)
	}
	stats, err := r.Write(ctx, func(ctx context.Context, w *Writer) error {
		lane := w.Lane()
		for _, c := range chunks {
			id := lane.Name(c)
			err := lane.Save(ctx, id, c)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return lane.Close(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	if stats.Stored.Load() == 0 || int(stats.Chunks.Load()) > len(chunks) {
		t.Fatalf("stored %d bytes for %d chunks", stats.Stored.Load(), stats.Chunks.Load())
	}
	for _, r := range []*Repo{r, reopen(t, s)} {
		seen := make([]bool, len(ids))
		err = r.Load(ctx, chunk.Data, ids, func(at int, data []byte) error {
			if seen[at] || !bytes.Equal(data, chunks[at]) {
				t.Errorf("chunk %d: seen %v, equal %v", at, seen[at], bytes.Equal(data, chunks[at]))
			}
			seen[at] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range seen {
			if !seen[i] {
				t.Fatalf("chunk %d never came", i)
			}
		}
		if err := r.Load(ctx, chunk.Map, ids[:1], nil); err == nil {
			t.Fatal("a data chunk loads as a map")
		}
	}
	var missing *MissingError
	if err := r.Load(ctx, chunk.Data, []chunk.ID{{1}}, nil); !errors.As(err, &missing) {
		t.Fatalf("unknown chunk: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	ctx := context.Background()
	s := new(store.Mem)
	if _, err := Open(ctx, s, []byte("pw")); !errors.Is(err, ErrNoRepository) {
		t.Fatalf("empty store: %v", err)
	}
	testRepo(t, s)
	if _, err := Open(ctx, s, []byte("other")); !errors.Is(err, crypt.ErrWrongPassword) {
		t.Fatalf("wrong password: %v", err)
	}
	if _, err := Init(ctx, s, []byte("pw"), cheap, "", DefaultSettings); !errors.Is(err, ErrExists) {
		t.Fatalf("second init: %v", err)
	}
}
