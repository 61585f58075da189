package repo

import (
	"context"
	"errors"
	"strings"
	"testing"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestWriteAfterFailure checks that chunks claimed by a failed Write never count as stored.
func TestWriteAfterFailure(t *testing.T) {
	ctx := context.Background()
	fresh := noiseChunks(9, 50, 60000)
	for i := int64(0); ; i++ {
		mem := new(store.Mem)
		testRepo(t, mem)
		r := reopen(t, mem)
		s := &storetest.Faulty{Store: mem, Fail: storetest.Nth(i, errBroken)}
		r.setStore(s)
		leased := 0
		err := r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
			leased++
			if _, _, err := save(ctx, r, fresh); err == nil {
				return nil
			}
			r.setStore(mem)
			if _, _, err := save(ctx, r, fresh); err == nil {
				t.Fatalf("op %d: a write goes on with an index that lies", i)
			}
			return errBroken
		})
		if err == nil {
			if i == 0 {
				t.Fatal("no operation failed")
			}
			break
		}
		if r.setStore(mem); leased > 0 {
			if err := r.LoadIndex(ctx); err != nil {
				t.Fatal(err)
			}
		}
		chunks, _, err := save(ctx, r, fresh)
		if err != nil {
			t.Fatalf("op %d: retry: %v", i, err)
		}
		wantLoads(t, reopen(t, mem), chunks)
	}
}

// TestOneWriteAtATime checks that no Write relies on chunks that another Write has only claimed.
func TestOneWriteAtATime(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	testRepo(t, mem)
	r := reopen(t, mem)
	_, err := r.Write(ctx, func(ctx context.Context, w *Writer) error {
		if _, err := r.Write(ctx, func(context.Context, *Writer) error { return nil }); err == nil {
			t.Error("two writes at once through one Repo")
		}
		lane := w.Lane()
		if err := lane.Save(ctx, lane.Name([]byte("x")), []byte("x")); err != nil {
			return err
		}
		return lane.Close(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestUnclosedLane checks that a Write does not report chunks as stored that still wait in a lane.
func TestUnclosedLane(t *testing.T) {
	_, err := testRepo(t, new(store.Mem)).Write(context.Background(), func(ctx context.Context, w *Writer) error {
		lane := w.Lane()
		return lane.Save(ctx, lane.Name([]byte("x")), []byte("x"))
	})
	if err == nil {
		t.Fatal("a write succeeds with a chunk that was never stored")
	}
}

// TestRepairOfTruncatedPack checks that nothing builds on a truncated pack after a repair, and that the pack is whole
// again once it is restored.
func TestRepairOfTruncatedPack(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	name := x.in(layout.Packs)[0]
	y := x.clone()
	y.files[name] = y.files[name][:len(y.files[name])/2]
	mem := storetest.MemOf(t, y.files)
	r, err := Open(ctx, mem, []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.RepairIndex(ctx, nil); err != nil {
		t.Fatal(err)
	}
	var data [][]byte
	for _, c := range x.chunks {
		data = append(data, c.data)
	}
	again, _, err := save(ctx, reopen(t, mem), data)
	if err != nil {
		t.Fatal(err)
	}
	wantLoads(t, reopen(t, mem), again)
	if err := mem.Put(ctx, name, x.files[name]); err != nil {
		t.Fatal(err)
	}
	report, err := reopen(t, mem).Check(ctx, CheckOptions{ReadData: true}, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Fatalf("with the pack put back: %v, %q", err, report.Damage)
	}
}

// TestRepairSurvivesReadErrors checks that one failed read causes no permanent loss. The tables are damaged here, so
// only the index knows the contents.
func TestRepairSurvivesReadErrors(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	y := x.clone()
	for _, name := range x.in(layout.Packs) {
		bad := append([]byte(nil), y.files[name]...)
		bad[len(bad)-1] ^= 1
		y.files[name] = bad
	}
	for i := int64(0); ; i++ {
		mem := storetest.MemOf(t, y.files)
		r, err := Open(ctx, mem, []byte("pw"))
		if err != nil {
			t.Fatal(err)
		}
		s := &storetest.Faulty{Store: mem, Fail: storetest.Nth(i, errBroken)}
		r.setStore(s)
		_, repaired := r.RepairIndex(ctx, nil)
		if s.Ops() <= i || s.Ops() == i+1 && repaired == nil { // the last call deletes the lease
			break
		}
		if repaired == nil {
			t.Fatalf("op %d failed and repair says nothing", i)
		}
		r.setStore(mem)
		r.isDead = everybody
		if _, err := r.RepairIndex(ctx, nil); err != nil {
			t.Fatalf("op %d: repair again: %v", i, err)
		}
		wantLoads(t, r, x.chunks)
	}
}

// TestCheckReadsUnindexedPacks checks that check finds damage in packs whose index file is missing.
func TestCheckReadsUnindexedPacks(t *testing.T) {
	y := newSample(t).clone()
	for _, n := range y.in(layout.Index) {
		delete(y.files, n)
	}
	name := y.in(layout.Packs)[0]
	bad := append([]byte(nil), y.files[name]...)
	bad[len(bad)/2] ^= 1
	y.files[name] = bad
	report, err := reopen(t, storetest.MemOf(t, y.files)).Check(context.Background(), CheckOptions{ReadPacks: true, ReadData: true}, nil)
	if err != nil || !lists(report, name) {
		t.Fatalf("%v, %q", err, report.Damage)
	}
}

// TestAdopt checks that packs of a killed backup are adopted, used, and in the index from then on.
func TestAdopt(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	y := x.clone()
	for _, n := range y.in(layout.Index) {
		delete(y.files, n)
	}
	bad := y.in(layout.Packs)[0]
	y.files[bad] = y.files[bad][:100] // this one is left alone
	mem := storetest.MemOf(t, y.files)
	r := reopen(t, mem)
	if n, err := r.Adopt(ctx); err != nil || n != len(y.in(layout.Packs))-1 {
		t.Fatalf("adopted %d packs of %d: %v", n, len(y.in(layout.Packs)), err)
	}
	for _, r := range []*Repo{r, reopen(t, mem)} {
		found := 0
		for _, c := range x.chunks {
			if loadOne(r, c) == nil {
				found++
			}
		}
		if found == 0 || found == len(x.chunks) {
			t.Fatalf("%d of %d chunks load", found, len(x.chunks))
		}
	}
	if n, err := reopen(t, mem).Adopt(ctx); err != nil || n != 0 {
		t.Fatalf("adopted %d packs a second time: %v", n, err)
	}
}

// TestUnreadableKeys checks that a failing store is not taken for a wrong password or for damage.
func TestUnreadableKeys(t *testing.T) {
	mem := new(store.Mem)
	testRepo(t, mem)
	s := &storetest.Faulty{Store: mem, Fail: func(op, name string) error {
		if op == "get" && strings.HasPrefix(name, layout.Keys) {
			return errBroken
		}
		return nil
	}}
	_, err := Open(context.Background(), s, []byte("pw"))
	if !errors.Is(err, errBroken) || errors.Is(err, crypt.ErrWrongPassword) || errors.Is(err, pack.ErrDamaged) {
		t.Fatal(err)
	}
}

// TestHealing checks that the chunks of a missing pack are stored again, for the old snapshots, too.
func TestHealing(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	mem := storetest.MemOf(t, x.files)
	if err := mem.Delete(ctx, x.in(layout.Packs)[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := x.saveAgain(ctx, reopen(t, mem)); err != nil {
		t.Fatal(err)
	}
	wantLoads(t, reopen(t, mem), x.chunks)
}
