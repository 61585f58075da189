package repo

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"platter/chunk"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// badSector returns a store in which a sector of a file cannot be read until the file is rewritten. With once, only the
// first read fails.
func badSector(s store.Store, name string, sector int64, once bool) *storetest.Faulty {
	var well atomic.Bool
	return &storetest.Faulty{
		Store: s,
		Fail: func(op, of string) error {
			if op == "put" && of == name {
				well.Store(true)
			}
			return nil
		},
		Got: func(_ context.Context, of string, off int64, data []byte) error {
			at := sector * parity.Sector
			if of != name || off >= at+parity.Sector || off+int64(len(data)) <= at || well.Load() {
				return nil
			}
			well.Store(once)
			return errBroken
		},
	}
}

// bigSample returns the files of a repository with one pack of several sectors, and the pack's name.
func bigSample(t *testing.T) (files map[string][]byte, name string, chunks []saved) {
	t.Helper()
	mem := new(store.Mem)
	chunks = mustSave(t, testRepo(t, mem), noiseChunks(1, 12, 60000)) // the map chunk has a frame of its own
	files = storetest.Files(t, mem)
	for n, data := range files {
		if layout.Dir(n) == layout.Packs && len(data) > len(files[name]) {
			name = n
		}
	}
	return files, name, chunks
}

// findIn opens a store, changes it, and looks for damage.
func findIn(t *testing.T, s store.Store, change func()) (*Damage, error) {
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
		mem := storetest.MemOf(t, files)
		if withParity {
			if err := mem.Put(ctx, name+".par", par); err != nil {
				t.Fatal(err)
			}
		}
		r := reopen(t, badSector(mem, name, 7, false))
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
	mem := storetest.MemOf(t, files)
	if d, err := findIn(t, badSector(mem, name, 3, true), func() {}); err != nil || len(d.Packs) > 0 {
		t.Errorf("a passing fault: %+v, %v", d, err)
	}
	s := &storetest.Faulty{Store: mem}
	away := func() {
		s.Got = func(context.Context, string, int64, []byte) error { return errBroken }
	}
	if _, err := findIn(t, s, away); !errors.Is(err, errBroken) {
		t.Errorf("a store that went away: %v", err)
	}
	s = &storetest.Faulty{Store: mem, Hidden: func(of string) bool { return of == name }}
	if d, err := findIn(t, s, func() {}); err == nil {
		t.Errorf("a pack that is not listed, and is there: %+v", d)
	}
}

// TestDamageIsCountedInChunks checks that a chunk that is also in a whole pack is not lost.
func TestDamageIsCountedInChunks(t *testing.T) {
	ctx := context.Background()
	files, name, chunks := bigSample(t)
	mem := storetest.MemOf(t, files)
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
