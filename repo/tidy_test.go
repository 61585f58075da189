package repo

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// night returns what one of many backups stores: two chunks of its own.
func night(n int) [][]byte { return noiseChunks(byte(n), 2, 2000+n) }

// manyNights makes a repository after so many backups that the next one joins its index files.
func manyNights(t *testing.T) (mem *store.Mem, all []saved) {
	t.Helper()
	mem = new(store.Mem)
	testRepo(t, mem)
	for n := range manySmall - 1 {
		all = append(all, mustSave(t, reopen(t, mem), night(n))...)
	}
	if n := countIn(t, mem, layout.Index); n != manySmall-1 {
		t.Fatalf("%d index files after %d nights", n, manySmall-1)
	}
	return mem, all
}

func countIn(t testing.TB, s store.Store, dir string) int {
	t.Helper()
	files, err := layout.List(context.Background(), s, dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// wantSound checks that a repository is whole: everything loads, and check finds nothing.
func wantSound(t *testing.T, s store.Store, all []saved) {
	t.Helper()
	r := reopen(t, s)
	wantLoads(t, r, all)
	report, err := r.Check(context.Background(), CheckOptions{}, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Fatalf("check: %v, %q", err, report.Damage)
	}
}

func TestTidy(t *testing.T) {
	mem, all := manyNights(t)
	folder := t.TempDir()
	cached := reopenCached(t, mem, folder)
	most := 0
	for n := manySmall; n < 3*manySmall; n++ {
		r := reopen(t, mem)
		if n%2 == 0 {
			r = cached
		}
		all = append(all, mustSave(t, r, night(n))...)
		wantLoads(t, r, all[len(all)-2:])
		most = max(most, countIn(t, mem, layout.Index))
		if n%5 == 0 {
			wantSound(t, mem, all)
			cached = reopenCached(t, mem, folder)
			wantLoads(t, cached, all)
		}
	}
	if most > manySmall+1 || countIn(t, mem, layout.Index) > manySmall {
		t.Errorf("%d index files at most, %d now", most, countIn(t, mem, layout.Index))
	}
	wantSound(t, mem, all)
}

// TestTidyFails checks that a backup succeeds once its own files are stored, even if joining index files fails.
func TestTidyFails(t *testing.T) {
	ctx := context.Background()
	mem, all := manyNights(t)
	files := storetest.Files(t, mem)
	for i := int64(4); ; i += 7 { // the pack and the index file are stored by then
		mem := storetest.MemOf(t, files)
		r := reopen(t, mem)
		s := &storetest.Faulty{Store: mem, Fail: storetest.After(i, errBroken)}
		var fresh []saved
		err := r.WithLease(ctx, BackingUp, func(ctx context.Context) (err error) {
			r.setStore(s)
			fresh, _, err = save(ctx, r, night(100))
			return err
		})
		if err != nil {
			t.Fatalf("calls from %d on fail, and so does the backup: %v", i, err)
		}
		wantSound(t, mem, append(fresh, all...))
		if s.Ops() > i {
			continue
		}
		if n := countIn(t, mem, layout.Index); n != 1 {
			t.Errorf("%d index files, want one for many nights", n)
		}
		return
	}
}

// TestTidyByTwo lets two backups join the same files at once.
func TestTidyByTwo(t *testing.T) {
	mem, all := manyNights(t)
	var errs [2]error
	var out [2][]saved
	var g sync.WaitGroup
	for i := range out {
		r := reopen(t, mem)
		g.Go(func() { out[i], _, errs[i] = save(context.Background(), r, night(100+i)) })
	}
	g.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	all = append(append(all, out[0]...), out[1]...)
	wantSound(t, mem, all)
	late := reopen(t, mem)
	wantSound(t, mem, append(all, mustSave(t, late, night(103))...))
	if n := countIn(t, mem, layout.Index); n > 5 {
		t.Errorf("%d index files", n)
	}
}

// TestTidyWhereNothingIsDeleted checks a store that accepts only new files. Its index files are joined once, not after
// every backup.
func TestTidyWhereNothingIsDeleted(t *testing.T) {
	mem, all := manyNights(t)
	s := &storetest.Faulty{Store: mem, Fail: func(op, _ string) error {
		if op == "delete" {
			return errBroken
		}
		return nil
	}}
	for n := range 5 {
		r := reopen(t, s)
		all = append(all, mustSave(t, r, night(100+n))...)
		wantSound(t, mem, all)
	}
	if n := countIn(t, mem, layout.Index); n != manySmall-1+5+1 {
		t.Errorf("%d index files, want one for many and one a night", n)
	}
	// A superseded file must not count again when the file that superseded it is joined with others.
	dropped := putIndexFile(t, reopen(t, mem), &index.File{Packs: []index.PackTable{
		{Pack: index.Pack{ID: pack.FileID{1}, Size: 4096}, Table: new(pack.Table)},
	}})
	putIndexFile(t, reopen(t, mem), &index.File{Supersedes: []pack.FileID{dropped}})
	for n := range manySmall {
		r := reopen(t, s)
		if n == manySmall-10 {
			s.Fail = func(op, name string) error { // only this file stays
				if op == "delete" && strings.HasSuffix(name, dropped.String()) {
					return errBroken
				}
				return nil
			}
		}
		all = append(all, mustSave(t, r, night(110+n))...)
	}
	if reopen(t, mem).Index().HasPack(pack.FileID{1}) {
		t.Error("an index file that was superseded counts again")
	}
	wantSound(t, mem, all)
}

// TestTidyAfterSomebodyElse checks that files that another program superseded meanwhile do not come back.
func TestTidyAfterSomebodyElse(t *testing.T) {
	ctx := context.Background()
	mem, _ := manyNights(t)
	r := reopen(t, mem)
	old, err := layout.List(ctx, mem, layout.Index)
	if err != nil {
		t.Fatal(err)
	}
	other := reopen(t, mem)
	decoded, err := other.readIndex(ctx, old[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	gone := decoded.Packs[0].ID
	putIndexFile(t, other, &index.File{Supersedes: []pack.FileID{old[0].ID}}) // it drops the pack
	if !r.Index().HasPack(gone) {
		t.Fatal("the pack was not there")
	}
	fresh := mustSave(t, r, night(100))
	if n := countIn(t, mem, layout.Index); n > 3 {
		t.Errorf("%d index files: nothing was put together", n)
	}
	again := reopen(t, mem)
	if again.Index().HasPack(gone) {
		t.Error("a pack that was dropped is listed again")
	}
	wantLoads(t, again, fresh)
}

// TestNoTidyInADryRun checks that a dry run reads no more than it must.
func TestNoTidyInADryRun(t *testing.T) {
	mem, _ := manyNights(t)
	s := &storetest.Faulty{Store: mem}
	r, err := Open(context.Background(), store.DryRun{Store: s}, []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.LoadIndex(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := s.Ops()
	mustSave(t, r, night(100))
	if n := s.Ops() - before; n != 0 || countIn(t, mem, layout.Index) != manySmall-1 {
		t.Errorf("%d calls, %d index files", n, countIn(t, mem, layout.Index))
	}
}
