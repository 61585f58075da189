package repo

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"sync"
	"testing"

	"platter/chunk"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
	"platter/repo/store"
)

// A failingStore has a file with one sector that cannot be read until it is rewritten. It may hide the file from listings.
type failingStore struct {
	store.Store
	name   string
	sector int64
	hidden bool // hidden from listings
	away   bool // nothing can be read
	once   bool // only the first read fails

	mu   sync.Mutex
	well bool
}

func (s *failingStore) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.sector * parity.Sector
	if s.away || name == s.name && !s.well && off < at+parity.Sector && off+n > at {
		s.well = s.once
		return nil, errBroken
	}
	return s.Store.Get(ctx, name, off, n)
}

func (s *failingStore) Put(ctx context.Context, name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.well = s.well || name == s.name
	return s.Store.Put(ctx, name, data)
}

func (s *failingStore) List(ctx context.Context, dir string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for f, err := range s.Store.List(ctx, dir) {
			if (!s.hidden || f.Name != s.name) && !yield(f, err) {
				return
			}
		}
	}
}

// bigSample returns the files of a repository with one pack of several sectors, and the pack's name.
func bigSample(t *testing.T) (files map[string][]byte, name string, chunks []saved) {
	t.Helper()
	mem := new(store.Mem)
	chunks = mustSave(t, testRepo(t, mem), noiseChunks(1, 12, 60000)) // the map chunk has a frame of its own
	files = filesOf(t, mem)
	for n, data := range files {
		if layout.Dir(n) == layout.Packs && len(data) > len(files[name]) {
			name = n
		}
	}
	return files, name, chunks
}

// findIn opens a store, changes it, and looks for damage.
func findIn(t *testing.T, s *failingStore, change func()) (*Damage, error) {
	t.Helper()
	r := reopen(t, s)
	change()
	return r.FindDamage(context.Background(), true, nil)
}

func TestDamageThatCannotBeRead(t *testing.T) {
	ctx := context.Background()
	files, name, chunks := bigSample(t)
	id, err := pack.ParseFileID(name[len(name)-64:])
	if err != nil {
		t.Fatal(err)
	}
	par, err := parity.Encode(files[name], id, 30)
	if err != nil {
		t.Fatal(err)
	}
	for _, withParity := range []bool{false, true} {
		mem := memOf(t, files)
		if withParity {
			if err := mem.Put(ctx, name+".par", par); err != nil {
				t.Fatal(err)
			}
		}
		r := reopen(t, &failingStore{Store: mem, name: name, sector: 7})
		err := r.WithLease(ctx, Repairing, func(ctx context.Context) error { mendFailing(ctx, t, r, name, withParity); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if !withParity {
			continue
		}
		if now, err := mem.Get(ctx, name, 0, 1<<30); err != nil || !bytes.Equal(now, files[name]) {
			t.Errorf("the pack is not what it was (%v)", err)
		}
		wantLoads(t, r, chunks)
	}
}

// mendFailing mends a pack with one unreadable sector, or copies out all frames but one.
func mendFailing(ctx context.Context, t *testing.T, r *Repo, name string, withParity bool) {
	t.Helper()
	d, err := r.FindDamage(ctx, true, nil)
	if err != nil || len(d.Packs) != 1 || d.Packs[0].Name() != name || !errors.Is(d.Packs[0].Why, errBroken) {
		t.Fatalf("%+v, %v", d, err)
	}
	if err := d.MendFiles(ctx, nil); err != nil || (d.Packs[0].Mended != "") != withParity {
		t.Errorf("%q, %v", d.Packs[0].Mended, err)
	}
	if withParity {
		return
	}
	before := d.Wants()
	n, err := d.Salvage(ctx)
	if err != nil || n == 0 || d.Wants() == 0 || d.Wants() != before-n {
		t.Errorf("%d of %d were copied out, %d are lost, %v", n, before, d.Wants(), err)
	}
}

// TestDamageThatIsNone checks that a temporary fault is no damage, and that an unreliable store ends the work.
func TestDamageThatIsNone(t *testing.T) {
	files, name, _ := bigSample(t)
	s := &failingStore{Store: memOf(t, files), name: name, sector: 3, once: true}
	if d, err := findIn(t, s, func() {}); err != nil || len(d.Packs) > 0 {
		t.Errorf("a passing fault: %+v, %v", d, err)
	}
	s = &failingStore{Store: memOf(t, files), name: name, well: true}
	if _, err := findIn(t, s, func() { s.away = true }); !errors.Is(err, errBroken) {
		t.Errorf("a store that went away: %v", err)
	}
	s = &failingStore{Store: memOf(t, files), name: name, well: true, hidden: true}
	if d, err := findIn(t, s, func() {}); err == nil {
		t.Errorf("a pack that is not listed, and is there: %+v", d)
	}
}

// TestDamageIsCountedInChunks checks that a chunk that is also in a whole pack is not lost.
func TestDamageIsCountedInChunks(t *testing.T) {
	ctx := context.Background()
	files, name, chunks := bigSample(t)
	mem := memOf(t, files)
	if err := mem.Delete(ctx, name); err != nil {
		t.Fatal(err)
	}
	r := reopen(t, mem)
	d, err := r.FindDamage(ctx, false, nil)
	if err != nil || d.Wants() == 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	lost := d.Wants()
	for _, c := range chunks {
		if c.kind == chunk.Data && d.Lost(c.id) {
			if d.Why(c.id) == nil || !d.Wanted(c.id) {
				t.Error("a lost chunk is not wanted")
			}
			mustSave(t, r, [][]byte{c.data})
			break
		}
	}
	if n := d.Wants(); n != lost-1 {
		t.Errorf("%d are lost, want %d", n, lost-1)
	}
	d, err = reopen(t, mem).FindDamage(ctx, false, nil)
	if err != nil || d.Wants() != lost-1 {
		t.Errorf("%d are lost, want %d (%v)", d.Wants(), lost-1, err)
	}
}
