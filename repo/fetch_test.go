package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// fetchSite is a repository of data chunks, 6000 bytes each, in small frames and packs.
func fetchSite(t testing.TB, n int) (*store.Mem, []saved) {
	t.Helper()
	mem := new(store.Mem)
	settings := DefaultSettings
	settings.FrameSize, settings.PackSize = minFrameSize, MinPackSize
	r, err := Init(t.Context(), mem, []byte("pw"), cheap, "", settings)
	if err != nil {
		t.Fatal(err)
	}
	var data []saved
	for _, c := range mustSave(t, r, noiseChunks(3, n, 6000)) {
		if c.kind == chunk.Data {
			data = append(data, c)
		}
	}
	return mem, data
}

// A funcBatch is a Batch of functions; done may be nil.
type funcBatch struct {
	wants []Want
	load  func(context.Context, []Got) error
	done  func(context.Context) error
}

func (b *funcBatch) Wants() []Want                             { return b.wants }
func (b *funcBatch) Load(ctx context.Context, got []Got) error { return b.load(ctx, got) }

func (b *funcBatch) Done(ctx context.Context) error {
	if b.done == nil {
		return nil
	}
	return b.done(ctx)
}

// fetch fetches batches.
func fetch(ctx context.Context, r *Repo, batches ...*funcBatch) error {
	all := make(chan Batch, len(batches))
	for _, b := range batches {
		all <- b
	}
	close(all)
	return r.Fetch(ctx, all)
}

// TestFetch checks that every chunk of every batch arrives once, verified, and before its batch's Done.
func TestFetch(t *testing.T) {
	mem, chunks := fetchSite(t, 900)
	for workers := 1; workers <= 5; workers += 2 {
		r := reopen(t, mem)
		r.SetWorkers(workers)
		var mu sync.Mutex
		seen, done := map[int64]int{}, 0
		const batches = 7
		var all []*funcBatch
		for i := range batches {
			left := map[int64]bool{}
			b := new(funcBatch)
			for at := i; at < len(chunks); at += batches {
				for twice := range 2 { // one chunk may belong in two places
					off := int64(2*at + twice)
					left[off] = true
					b.wants = append(b.wants, Want{chunks[at].id, off, uint32(len(chunks[at].data))})
				}
			}
			if i == 3 {
				b.wants, left = nil, nil
			}
			b.load = func(_ context.Context, got []Got) error {
				mu.Lock()
				defer mu.Unlock()
				for _, g := range got {
					if !bytes.Equal(g.Data, chunks[g.Off/2].data) {
						return fmt.Errorf("chunk %d is another", g.Off)
					}
					seen[g.Off]++
					delete(left, g.Off)
				}
				return nil
			}
			b.done = func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				done++
				if len(left) > 0 {
					return fmt.Errorf("done, and %d chunks are missing", len(left))
				}
				return nil
			}
			all = append(all, b)
		}
		if err := fetch(t.Context(), r, all...); err != nil || done != batches {
			t.Fatalf("%d workers: %d batches done, %v", workers, done, err)
		}
		want := 0
		for at := range chunks {
			if at%batches != 3 {
				want += 2
			}
		}
		for off, n := range seen {
			if n != 1 {
				t.Errorf("chunk %d came %d times", off, n)
			}
		}
		if len(seen) != want {
			t.Errorf("%d workers: %d chunks came, want %d", workers, len(seen), want)
		}
	}
}

// TestFetchReadsOnce checks that a batch of shuffled chunks reads no byte twice.
func TestFetchReadsOnce(t *testing.T) {
	mem, chunks := fetchSite(t, 600)
	size := int64(0)
	for _, p := range reopen(t, mem).Index().Packs() {
		size += p.Size
	}
	counted := &storetest.Faulty{Store: mem}
	r := reopen(t, counted)
	before := counted.BytesRead()
	b := &funcBatch{load: func(context.Context, []Got) error { return nil }}
	for i := range chunks {
		b.wants = append(b.wants, Want{ID: chunks[i*7%len(chunks)].id})
	}
	if err := fetch(t.Context(), r, b); err != nil {
		t.Fatal(err)
	}
	if read := counted.BytesRead() - before; read > size {
		t.Errorf("it read %d bytes of packs that have %d", read, size)
	}
}

// TestFetchFails fails all reads from each one on, and then the batch. The error is returned, and nothing waits for
// ever.
func TestFetchFails(t *testing.T) {
	mem, chunks := fetchSite(t, 300)
	r := reopen(t, mem)
	broken := errors.New("broken")
	fetch := func(load, done func(context.Context) error, id chunk.ID) error {
		g, ctx := errgroup.WithContext(t.Context())
		batches := make(chan Batch)
		g.Go(func() error { return r.Fetch(ctx, batches) })
		g.Go(func() error {
			defer close(batches)
			for range 3 {
				b := &funcBatch{load: func(ctx context.Context, _ []Got) error { return load(ctx) }, done: done}
				for _, c := range chunks {
					b.wants = append(b.wants, Want{ID: c.id})
				}
				b.wants[len(b.wants)/2].ID = id
				select {
				case batches <- b:
				case <-ctx.Done():
					return nil
				}
			}
			return nil
		})
		return g.Wait()
	}
	fine := func(context.Context) error { return nil }
	fails := func(context.Context) error { return broken }
	if err := fetch(fine, fine, chunks[0].id); err != nil {
		t.Fatal(err)
	}
	if err := fetch(fails, fine, chunks[0].id); !errors.Is(err, broken) {
		t.Errorf("Load failed, and it says %v", err)
	}
	if err := fetch(fine, fails, chunks[0].id); !errors.Is(err, broken) {
		t.Errorf("Done failed, and it says %v", err)
	}
	if err := fetch(fine, fine, chunk.ID{1}); !errors.Is(err, ErrMissing) {
		t.Errorf("of a chunk that is nowhere it says %v", err)
	}
	for i := int64(0); ; i++ {
		r.setStore(&storetest.Faulty{Store: mem, Fail: storetest.After(i, broken)}) // a read that fails once is retried
		err := fetch(fine, fine, chunks[0].id)
		if err == nil {
			if i < 3 {
				t.Errorf("only %d reads", i)
			}
			break
		}
		if !errors.Is(err, broken) {
			t.Errorf("read %d failed, and it says %v", i, err)
		}
	}
	files := storetest.Files(t, mem)
	for name, data := range files {
		if layout.Dir(name) == layout.Packs {
			data[len(data)/3] ^= 1
		}
	}
	r.setStore(storetest.MemOf(t, files))
	if err := fetch(fine, fine, chunks[0].id); !errors.Is(err, pack.ErrDamaged) {
		t.Errorf("of a damaged pack it says %v", err)
	}
}

// TestFetchEnds ends the context of a Fetch that waits for batches.
func TestFetchEnds(t *testing.T) {
	mem, _ := fetchSite(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	b := &funcBatch{done: func(context.Context) error { cancel(); return nil }}
	batches := make(chan Batch, 1) // stays open
	batches <- b
	if err := reopen(t, mem).Fetch(ctx, batches); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was canceled", err)
	}
}

// BenchmarkLoad and BenchmarkFetch read 64 MiB in chunks of 64 KiB, one after the other and on all cores.
func BenchmarkLoad(b *testing.B) {
	r, chunks := benchSite(b)
	ids := make([]chunk.ID, len(chunks))
	for i, c := range chunks {
		ids[i] = c.id
	}
	for b.Loop() {
		if err := r.Load(b.Context(), chunk.Data, ids, func(int, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	r, chunks := benchSite(b)
	wants := make([]Want, len(chunks))
	for i, c := range chunks {
		wants[i].ID = c.id
	}
	for b.Loop() {
		if err := fetch(b.Context(), r, &funcBatch{wants: wants, load: func(context.Context, []Got) error { return nil }}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchSite(b *testing.B) (*Repo, []saved) {
	b.Helper()
	local := storetest.OpenLocal(b, b.TempDir(), nil)
	chunks := noiseChunks(1, 1170, 64<<10) // every eighth is saved as a map
	for _, c := range chunks {
		for i := len(c) / 2; i < len(c); i++ { // half of it compresses
			c[i] = c[i-len(c)/4] & 3
		}
	}
	var data []saved
	for _, c := range mustSave(b, testRepo(b, local), chunks) {
		if c.kind == chunk.Data {
			data = append(data, c)
		}
	}
	b.SetBytes(int64(len(data)) * 64 << 10)
	b.ReportAllocs()
	b.ResetTimer()
	return reopen(b, local), data
}
