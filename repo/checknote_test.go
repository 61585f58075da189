package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"platter/chunk"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// saveAgain stores the chunks as another backup of the same disks would.
func (x *sample) saveAgain(ctx context.Context, r *Repo) (stored int64, err error) {
	stats, err := r.Write(ctx, func(ctx context.Context, w *Writer) error {
		lane := w.Lane()
		for _, c := range x.chunks {
			var err error
			if c.kind == chunk.Map {
				_, err = w.SaveMap(ctx, c.data)
			} else {
				err = lane.Save(ctx, c.id, c.data)
			}
			if err != nil {
				return err
			}
		}
		return lane.Close(ctx)
	})
	return stats.Raw.Load(), err
}

func (x *sample) check(t *testing.T, s store.Store, o CheckOptions) *Report {
	t.Helper()
	report, err := reopen(t, s).Check(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func markersIn(t *testing.T, s store.Store) map[pack.FileID]bool {
	t.Helper()
	w, err := reopen(t, s).leases.Read(context.Background())
	if err != nil || len(w.Unreadable) > 0 || len(w.Leases) > 0 || len(w.Condemned()) > 0 {
		t.Fatalf("%+v, %v", w, err)
	}
	return w.Damaged()
}

func wantNotes(t *testing.T, what string, r *Report, noted, earlier, cleared int) {
	t.Helper()
	if r.Noted != noted || r.Earlier != earlier || r.Cleared != cleared || r.Unnoted != nil {
		t.Errorf("%s: %d noted, %d earlier, %d cleared, %v; want %d, %d, %d", what, r.Noted, r.Earlier, r.Cleared, r.Unnoted, noted, earlier, cleared)
	}
}

// TestDamageHeals checks that the chunks of a pack found damaged are stored again, once, and then read from their new
// place.
func TestDamageHeals(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	for i, change := range []func([]byte) []byte{
		func(p []byte) []byte { p[len(p)/2] ^= 1; return p },
		func(p []byte) []byte { p[len(p)-60] ^= 1; return p }, // in its table
		func(p []byte) []byte { return append(p, make([]byte, 4096)...) },
	} {
		for _, data := range []bool{true, false} {
			what := fmt.Sprintf("change %d, data %v", i, data)
			mem := storetest.MemOf(t, x.files)
			name := x.in(layout.Packs)[0]
			if err := mem.Put(ctx, name, change(bytes.Clone(x.files[name]))); err != nil {
				t.Fatal(err)
			}
			// LoadIndex itself notices a wrong length.
			if n, err := x.saveAgain(ctx, reopen(t, mem)); err != nil || (n > 0) != (i == 2) {
				t.Fatalf("%s: %d bytes stored again before anybody knows (%v)", what, n, err)
			}
			report := x.check(t, mem, CheckOptions{ReadPacks: true, ReadData: data})
			wantNotes(t, what, report, 1, 0, 0)
			dry := reopen(t, store.DryRun{Store: mem})
			would, err := x.saveAgain(ctx, dry)
			if err != nil {
				t.Fatal(err)
			}
			n, err := x.saveAgain(ctx, reopen(t, mem))
			if err != nil || n != would || i < 2 && n < int64(len(x.files[name]))/2 {
				t.Fatalf("%s: %d bytes stored again, %d by a dry run (%v)", what, n, would, err)
			}
			if n, err := x.saveAgain(ctx, reopen(t, mem)); err != nil || n > 0 {
				t.Fatalf("%s: %d bytes stored once more (%v)", what, n, err)
			}
			wantLoads(t, reopen(t, mem), x.chunks)
			r := reopen(t, mem)
			again, err := r.Check(ctx, CheckOptions{ReadData: true}, nil)
			if err != nil || len(again.Damage) == 0 {
				t.Fatalf("%s: %v, %+v", what, err, again)
			}
			wantNotes(t, what, again, 0, 1, 0)
			for _, c := range x.chunks {
				if err := again.ChunkError(c.id); err != nil {
					t.Fatalf("%s: %v is lost: %v", what, c.id, err)
				}
			}
		}
	}
}

// TestNotesEnd checks that packs that are whole again or missing are no longer noted as damaged, and that the others
// still are.
func TestNotesEnd(t *testing.T) {
	ctx := context.Background()
	settings := DefaultSettings
	settings.PackSize, settings.FrameSize = MinPackSize, minFrameSize
	mem := new(store.Mem)
	r, err := Init(ctx, mem, []byte("pw"), cheap, "", settings)
	if err != nil {
		t.Fatal(err)
	}
	x := &sample{chunks: mustSave(t, r, noiseChunks(1, 60, 60000))}
	x.files = storetest.Files(t, mem)
	packs := x.in(layout.Packs)
	if len(packs) < 4 {
		t.Fatalf("%d packs", len(packs))
	}
	whole := map[string][]byte{}
	for _, name := range packs[:3] {
		whole[name] = storetest.Flip(t, mem, name)
	}
	full := CheckOptions{ReadPacks: true}
	wantNotes(t, "read-only", x.check(t, mem, CheckOptions{ReadPacks: true, ReadOnly: true}), 0, 0, 0)
	if n := len(markersIn(t, mem)); n != 0 {
		t.Fatalf("%d notes by a check that writes nothing", n)
	}
	wantNotes(t, "the first", x.check(t, mem, full), 3, 0, 0)
	wantNotes(t, "the same", x.check(t, mem, full), 0, 3, 0)
	wantNotes(t, "read-only", x.check(t, mem, CheckOptions{ReadOnly: true}), 0, 3, 0)

	if err := mem.Put(ctx, packs[0], whole[packs[0]]); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, "without a look", x.check(t, mem, CheckOptions{}), 0, 3, 0)
	wantNotes(t, "one put back", x.check(t, mem, full), 0, 2, 1)
	storetest.Flip(t, mem, packs[3])
	if err := mem.Delete(ctx, packs[1]); err != nil {
		t.Fatal(err)
	}
	report := x.check(t, mem, full)
	wantNotes(t, "one gone, one more", report, 1, 1, 1)
	if n := len(markersIn(t, mem)); n != 2 {
		t.Fatalf("%d packs are noted", n)
	}
	for name, data := range x.files {
		if err := mem.Put(ctx, name, data); err != nil {
			t.Fatal(err)
		}
	}
	wantNotes(t, "all put back", x.check(t, mem, full), 0, 0, 2)
	if n := len((&sample{files: storetest.Files(t, mem)}).in(layout.Work)); n != 0 {
		t.Fatalf("%d files are left in work/", n)
	}
}

// TestNoteOfWrongContents checks that a pack that was written wrong is noted as damaged although it matches its name. A
// check that only compares names must not remove that note.
func TestNoteOfWrongContents(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := testRepo(t, mem)
	_, err := r.Write(ctx, func(ctx context.Context, w *Writer) error {
		lane := w.Lane()
		if err := lane.Save(ctx, lane.Name([]byte("right")), []byte("wrong")); err != nil {
			return err
		}
		return lane.Close(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	x := new(sample)
	wantNotes(t, "names", x.check(t, mem, CheckOptions{ReadPacks: true}), 0, 0, 0)
	wantNotes(t, "data", x.check(t, mem, CheckOptions{ReadData: true}), 1, 0, 0)
	report := x.check(t, mem, CheckOptions{ReadPacks: true})
	if wantNotes(t, "names again", report, 0, 1, 0); len(report.Damage) != 1 {
		t.Errorf("%q", report.Damage)
	}
}

// TestUnreadableStoreIsNoDamage checks that nothing is noted as damaged when the store does not answer, and that a
// read-only store can be checked.
func TestUnreadableStoreIsNoDamage(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	mem := storetest.MemOf(t, x.files)
	r := reopen(t, mem)
	r.setStore(&storetest.Faulty{Store: mem, Fail: func(op, name string) error {
		if op == "get" && layout.Dir(name) == layout.Packs {
			return errBroken
		}
		return nil
	}})
	report, err := r.Check(ctx, CheckOptions{ReadData: true}, nil)
	if err != nil || len(report.Damage) == 0 {
		t.Fatalf("%v, %+v", err, report)
	}
	wantNotes(t, "no answer", report, 0, 0, 0)
	storetest.Flip(t, mem, x.in(layout.Packs)[0])
	r.setStore(&storetest.Faulty{Store: mem, Fail: func(op, name string) error {
		if op == "put" || op == "delete" || op == "touch" {
			return errBroken
		}
		return nil
	}})
	report, err = r.Check(ctx, CheckOptions{ReadData: true}, nil)
	if err != nil || !errors.Is(report.Unnoted, errBroken) || report.Noted != 0 || len(report.Damage) == 0 {
		t.Fatalf("%v, %+v", err, report)
	}
}

// TestDamagedOrphan checks that a damaged orphaned pack is not adopted.
func TestDamagedOrphan(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	y := x.clone()
	for _, name := range y.in(layout.Index) {
		delete(y.files, name)
	}
	mem := storetest.MemOf(t, y.files)
	storetest.Flip(t, mem, y.in(layout.Packs)[0])
	wantNotes(t, "an orphan", x.check(t, mem, CheckOptions{ReadPacks: true}), 1, 0, 0)
	r := reopen(t, mem)
	err := r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		n, err := r.Adopt(ctx)
		if n != len(y.in(layout.Packs))-1 {
			t.Errorf("%d packs were taken in", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoteEveryOpFails fails each call of a check that changes the damage markers. Damaged packs stay noted before and
// after.
func TestNoteEveryOpFails(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	for i := int64(0); ; i++ {
		mem := storetest.MemOf(t, x.files)
		for _, name := range x.in(layout.Packs)[:2] {
			storetest.Flip(t, mem, name)
		}
		x.check(t, mem, CheckOptions{ReadPacks: true})
		if err := mem.Put(ctx, x.in(layout.Packs)[0], x.files[x.in(layout.Packs)[0]]); err != nil {
			t.Fatal(err)
		}
		r := reopen(t, mem)
		r.workers = 1
		s := &storetest.Faulty{Store: mem, Fail: storetest.After(i, errBroken)}
		r.setStore(s)
		_, _ = r.Check(ctx, CheckOptions{ReadPacks: true}, nil)
		if n := len(markersIn(t, mem)); n != 1 && n != 2 {
			t.Fatalf("after %d calls %d packs are noted", i, n)
		}
		if s.Ops() <= i {
			return
		}
	}
}
