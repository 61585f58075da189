package repo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// newParitySample returns a sample in which every pack has parity of 30 %.
func newParitySample(t testing.TB) *sample {
	t.Helper()
	x := newSample(t)
	mem := storetest.MemOf(t, x.files)
	added, err := reopen(t, mem).AddParity(context.Background(), ParityOptions{Share: 300}, nil)
	if err != nil || added.Made != len(x.packs()) || added.Kept+len(added.Damaged) > 0 {
		t.Fatalf("%+v, %v", added, err)
	}
	x.files = storetest.Files(t, mem)
	return x
}

// packs returns the names of packs without their parity, sorted.
func (x *sample) packs() []string {
	return slices.DeleteFunc(x.in(layout.Packs), func(name string) bool { return strings.HasSuffix(name, layout.ParityEnd) })
}

// wantParity fails unless each pack in a store has a whole parity file.
func wantParity(t *testing.T, s store.Store) {
	t.Helper()
	files := storetest.Files(t, s)
	for name, file := range files {
		if layout.Dir(name) != layout.Packs || strings.HasSuffix(name, layout.ParityEnd) {
			continue
		}
		report, err := parity.Check(file, files[name+layout.ParityEnd])
		if err != nil || !report.Whole() || report.Pack != pack.Sum(file) {
			t.Errorf("parity of %s: %v", name, err)
		}
	}
}

func TestWriteParity(t *testing.T) {
	mem := new(store.Mem)
	settings := DefaultSettings
	settings.FrameSize, settings.PackSize, settings.Parity = minFrameSize, MinPackSize, 30
	r, err := Init(t.Context(), mem, []byte("pw"), cheap, "test", settings)
	if err != nil {
		t.Fatal(err)
	}
	_, stats, err := save(t.Context(), r, noiseChunks(1, 60, 60000))
	if err != nil {
		t.Fatal(err)
	}
	wantParity(t, mem)
	r = reopen(t, mem)
	status, err := r.ParityStatus(t.Context())
	if err != nil || status.Packs < 3 || status.With != status.Packs || status.Without+status.Other+status.Strays > 0 || status.Share != 30 || status.CanLose != 8 {
		t.Errorf("%+v, %v", status, err)
	}
	stored := int64(0)
	for name, file := range storetest.Files(t, mem) {
		if layout.Dir(name) == layout.Packs || layout.Dir(name) == layout.Index {
			stored += int64(len(file))
		}
	}
	if stats.Stored.Load() != stored || status.Bytes == 0 {
		t.Errorf("%d bytes are said to be stored, there are %d", stats.Stored.Load(), stored)
	}
	report, err := r.Check(t.Context(), CheckOptions{ReadPacks: true}, nil)
	if err != nil || len(report.Damage)+len(report.Notes) > 0 || report.Parity != status.Packs || report.ParityBytes != status.Bytes {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestWriteParityEveryOpFails fails each call of a Write that makes parity. What the Write reports as stored is stored,
// and the next one goes on.
func TestWriteParityEveryOpFails(t *testing.T) {
	x := newParitySample(t)
	fresh := noiseChunks(9, 40, 60000)
	for i := int64(0); ; i++ {
		mem := storetest.MemOf(t, x.files)
		r := reopen(t, mem)
		s := &storetest.Faulty{Store: mem, Fail: storetest.Nth(i, errBroken)}
		r.setStore(s)
		_, _, err := save(t.Context(), r, fresh)
		if s.Ops() <= i || s.Ops() == i+1 && err == nil {
			if err != nil || i < 8 {
				t.Fatalf("%d calls, %v", s.Ops(), err)
			}
			wantParity(t, mem)
			return
		}
		if !errors.Is(err, errBroken) {
			t.Fatalf("call %d fails and Write says %v", i, err)
		}
		x.wantWhole(t, mem)
		again := reopen(t, mem)
		if _, err := again.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		chunks := mustSave(t, again, fresh)
		// For the pack whose parity failed.
		if _, err := again.AddParity(t.Context(), ParityOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		wantParity(t, mem)
		wantLoads(t, reopen(t, mem), chunks)
	}
}

// TestAddParity adds parity, adds it again, changes its share, and adds it after damage. Then it removes all parity.
func TestAddParity(t *testing.T) {
	x := newParitySample(t)
	mem, packs := storetest.MemOf(t, x.files), len(x.packs())
	add := func(o ParityOptions) *ParityAdded {
		t.Helper()
		done, err := reopen(t, mem).AddParity(t.Context(), o, nil)
		if err != nil || done.Packs != packs {
			t.Fatalf("%+v, %v", done, err)
		}
		return done
	}
	if done := add(ParityOptions{}); done.Share != 300 || done.Made > 0 || done.Kept != packs {
		t.Errorf("again: %+v", done)
	}
	if done := add(ParityOptions{Share: 50}); done.Made != packs || reopen(t, mem).config.Parity != 50 {
		t.Errorf("of another share: %+v", done)
	}
	wantParity(t, mem)

	name := x.packs()[0]
	par := storetest.Files(t, mem)[name+layout.ParityEnd]
	put := func(name string, data []byte) {
		t.Helper()
		if err := mem.Put(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
	}
	put(name+layout.ParityEnd, flipped(par, len(par)/2))
	if done := add(ParityOptions{}); done.Made > 0 {
		t.Errorf("made again although not requested: %+v", done)
	}
	if done := add(ParityOptions{Verify: true}); done.Made != 1 || done.Kept != packs-1 {
		t.Errorf("of a damaged parity file: %+v", done)
	}
	wantParity(t, mem)

	// A damaged pack keeps its parity file and gets no new one.
	put(name, flipped(x.files[name], 5000))
	done := add(ParityOptions{Share: 100})
	if done.Made != packs-1 || len(done.Damaged) != 1 || !strings.HasPrefix(done.Damaged[0], name+": ") {
		t.Errorf("of a damaged pack: %+v", done)
	}
	if there := storetest.Files(t, mem)[name+layout.ParityEnd]; string(there) != string(par) {
		t.Error("what could mend it was replaced")
	}
	put("packs/00/"+strings.Repeat("0", 64)+layout.ParityEnd, par)
	r := reopen(t, mem)
	if status, err := r.ParityStatus(t.Context()); err != nil || status.With != packs || status.Other != 1 || status.Strays != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	removed, err := r.RemoveParity(t.Context(), nil)
	if err != nil || removed.Removed != packs+1 || reopen(t, mem).config.Parity != 0 {
		t.Errorf("%+v, %v", removed, err)
	}
	if status, err := r.ParityStatus(t.Context()); err != nil || status.With > 0 || status.Bytes > 0 || status.Without != packs {
		t.Errorf("%+v, %v", status, err)
	}
}

// flipped returns data with one bit changed.
func flipped(data []byte, at int) []byte {
	bad := slices.Clone(data)
	bad[at] ^= 1
	return bad
}
