package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/pack"
	"platter/repo/store"
)

// TestViews reads through a Repo, loads its index and writes through it, all at once. Every read returns what was
// saved, and what is written beside a LoadIndex can be loaded. The race detector is half of this test.
func TestViews(t *testing.T) {
	mem := new(store.Mem)
	testRepo(t, mem)
	first := keepChunks(t, reopen(t, mem), noiseChunks(1, 20, 20000))
	r := reopen(t, mem)
	saved := mustSave(t, r, noiseChunks(2, 60, 20000))
	g, ctx := errgroup.WithContext(t.Context())
	done := make(chan struct{})
	until := func(what string, fn func() error) {
		g.Go(func() error {
			for n := 0; ; n++ {
				if err := fn(); err != nil {
					return fmt.Errorf("%s %d: %w", what, n, err)
				}
				select {
				case <-done:
					return nil
				case <-ctx.Done():
					return nil
				default:
				}
			}
		})
	}
	until("load", func() error { return loadAll(ctx, r, saved) })
	until("fetch", func() error { return fetchAll(ctx, r, saved) })
	until("index", func() error { return r.LoadIndex(ctx) })
	until("read", func() error {
		return r.Reading(ctx, Restoring, []pack.FileID{first}, func(ctx context.Context) error { return loadAll(ctx, r, saved) })
	})
	g.Go(func() error {
		defer close(done)
		for i := range 8 {
			fresh, _, err := save(ctx, r, noiseChunks(byte(3+i), 40, 20000))
			if err == nil {
				err = loadAll(ctx, r, fresh)
			}
			if err != nil {
				return fmt.Errorf("write %d: %w", i, err)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func loadAll(ctx context.Context, r *Repo, saved []saved) error {
	for _, c := range saved {
		err := r.Load(ctx, c.kind, []chunk.ID{c.id}, func(_ int, data []byte) error {
			if !bytes.Equal(data, c.data) {
				return errors.New("other bytes than were saved")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func fetchAll(ctx context.Context, r *Repo, saved []saved) error {
	b := &funcBatch{load: func(_ context.Context, got []Got) error {
		for _, g := range got {
			if !bytes.Equal(g.Data, saved[g.Off].data) {
				return errors.New("other bytes than were saved")
			}
		}
		return nil
	}}
	for i, c := range saved {
		if c.kind == chunk.Data {
			b.wants = append(b.wants, Want{ID: c.id, Off: int64(i), Len: uint32(len(c.data))})
		}
	}
	return fetch(ctx, r, b)
}
