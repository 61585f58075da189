package heal

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/repo/repotest"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/restore/restoretest"
	"platter/snapshot/snapshottest"
)

// garbled returns a store that returns wrong bytes for some files, a number of times. A negative number means always.
func garbled(s store.Store, times map[string]int) store.Store {
	var mu sync.Mutex
	return &storetest.Faulty{Store: s, Got: func(_ context.Context, name string, _ int64, data []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if left := times[name]; left != 0 && len(data) > 20 {
			times[name] = left - 1
			data[len(data)/2] ^= 1
		}
		return nil
	}}
}

func pruneAll(t *testing.T, s store.Store) *repo.Pruned {
	t.Helper()
	r := snapshottest.Reopen(t, s)
	done, err := r.Prune(t.Context(), repo.PruneOptions{MaxRepack: 1 << 40}, func(ctx context.Context, ids []pack.FileID, m *repo.Marks) error {
		return snapshot.Mark(ctx, r, ids, m)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// wantNamed fails unless each disk has a whole version.
func wantNamed(t *testing.T, s store.Store, disks map[string][]byte) {
	t.Helper()
	r := snapshottest.Reopen(t, s)
	all, bad, err := snapshot.Load(t.Context(), r)
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	for name, disk := range disks {
		if !slices.ContainsFunc(all, func(v *snapshot.Snapshot) bool {
			return v.Name == name && v.Unreadable == 0 && bytes.Equal(restoretest.File(t, r, v), disk)
		}) {
			t.Errorf("%s is not what it was", name)
		}
	}
}

// TestBadReadsOfSnapshots garbles some reads of a snapshot's file, while repairs and forgets remove what cannot be
// read. After one bad read nothing is removed. After many, what was removed is put back, whatever was pruned.
func TestBadReadsOfSnapshots(t *testing.T) {
	ctx := t.Context()
	whole, list := keptDisk(t, rand.New(rand.NewPCG(1, 61)), 2, 2<<20)
	disks := map[string][]byte{"disk0": list[0], "disk1": list[1]}
	for how, remove := range map[string]func(r *repo.Repo) (removed bool, err error){
		"repair": func(r *repo.Repo) (bool, error) {
			done, err := RepairSnapshots(ctx, r, RepairOptions{Write: true, Forget: true}, nil)
			return err == nil && len(done.Unreadable) > 0 && done.Unreadable[0].Forgotten, err
		},
		"forget": func(r *repo.Repo) (bool, error) {
			all, bad, err := snapshot.Load(ctx, r)
			if err != nil || len(bad) == 0 {
				return false, err
			}
			u, _ := errors.AsType[*snapshot.Unreadable](bad[0])
			retention, err := snapshot.ByName([]string{u.ID.String()}, all, bad, time.Now())
			if err != nil {
				return false, err
			}
			n, err := retention.Run(ctx, r)
			if errors.Is(err, snapshot.ErrReadable) {
				return false, nil
			}
			return n > 0, err
		},
	} {
		for _, times := range []int{1, 2, 3, 50} {
			mem := storetest.MemOf(t, whole)
			name := storetest.Names(t, mem, "snapshots")[0]
			bad := map[string]int{name: times}
			s := garbled(mem, bad)
			removed, err := remove(snapshottest.Reopen(t, s))
			if err != nil || removed != (times > 2) {
				t.Fatalf("%s after %d bad reads: %v, %v", how, times, removed, err)
			}
			clear(bad)
			if removed {
				bad["aside/"+strings.TrimPrefix(name, "snapshots/")] = -1 // still garbled
				if done := pruneAll(t, s); done.Deleted.Packs > 0 || len(done.Aside) != 1 {
					t.Errorf("%s: prune, while it cannot be read: %+v", how, done)
				}
				clear(bad)
				if done := pruneAll(t, s); done.Deleted.Packs > 0 || done.Missing+done.Lost > 0 {
					t.Errorf("%s: prune: %+v", how, done)
				}
				id, err := pack.ParseFileID(strings.TrimPrefix(name, "snapshots/"))
				if err != nil {
					t.Fatal(err)
				}
				back, err := snapshot.PutBack(ctx, snapshottest.Reopen(t, s), []pack.FileID{id})
				if err != nil || len(back) != 1 || len(storetest.Names(t, mem, "aside")) > 0 {
					t.Fatalf("%v, %v, %v", back, err, storetest.Names(t, mem, "aside"))
				}
			}
			wantNamed(t, s, disks)
			if n := len(storetest.Names(t, mem, "snapshots")); n != 2 {
				t.Errorf("%s: %d snapshots", how, n)
			}
		}
	}
}

// TestBadReadsOfPacks has a store that returns wrong bytes for packs while snapshots are repaired, and later the right
// ones. What was removed is put back unchanged, even after a prune, and the prune reports no problem.
func TestBadReadsOfPacks(t *testing.T) {
	ctx := t.Context()
	whole, list := keptDisk(t, rand.New(rand.NewPCG(1, 62)), 2, 3<<20)
	disks := map[string][]byte{"disk0": list[0], "disk1": list[1]}
	for _, times := range []int{1, -1} {
		mem := storetest.MemOf(t, whole)
		bad := map[string]int{}
		s := garbled(mem, bad)
		for name := range whole {
			if strings.HasPrefix(name, "packs/") {
				bad[name] = times
			}
		}
		done, err := RepairSnapshots(ctx, repotest.Open(t, s), RepairOptions{ReadAll: true, Write: true, Forget: true}, nil)
		if err != nil || (len(done.Snapshots) > 0) != (times < 0) {
			t.Fatalf("%d bad reads: %+v, %v", times, done, err)
		}
		clear(bad)
		pruneAll(t, s)
		ids, err := snapshottest.Reopen(t, s).ListAside(ctx)
		if err != nil || len(ids) != len(done.Snapshots) {
			t.Fatalf("%v, %v", ids, err)
		}
		if _, err := snapshot.PutBack(ctx, snapshottest.Reopen(t, s), ids); err != nil {
			t.Fatal(err)
		}
		wantNamed(t, s, disks)
	}
}

// TestReviewAside checks that damaged snapshots are deleted only after everything else was checked, and that whole ones
// stay to be put back. Until then, packs with some of their chunks stay, and no prune complains about their missing
// chunks.
func TestReviewAside(t *testing.T) {
	ctx := t.Context()
	whole, _ := keptDisk(t, rand.New(rand.NewPCG(1, 63)), 3, 2<<20)
	damaged := maps.Clone(whole)
	delete(damaged, repotest.Packs(whole)[0])
	mem := storetest.MemOf(t, damaged)
	hurt, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), RepairOptions{}, nil)
	if err != nil || len(hurt.Snapshots) == 0 {
		t.Fatalf("%+v, %v", hurt, err)
	}
	cut := "" // one of the others, if there are any
	for _, name := range storetest.Names(t, mem, "snapshots") {
		if cut == "" || !slices.ContainsFunc(hurt.Snapshots, func(q Repair) bool { return repo.SnapshotName(q.Snapshot.ID) == name }) {
			cut = name
		}
	}
	if err := mem.Put(ctx, cut, whole[cut][:100]); err != nil {
		t.Fatal(err)
	}
	done, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), RepairOptions{Write: true, Forget: true}, nil)
	if err != nil || len(done.Snapshots) == 0 || len(done.Unreadable) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	broken := len(storetest.Names(t, mem, "aside"))
	if broken != len(done.Snapshots)+1 {
		t.Fatalf("%d are kept aside of %+v", broken, done)
	}
	// A whole snapshot was set aside by mistake.
	all, _, err := snapshot.Load(ctx, snapshottest.Reopen(t, mem))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snapshottest.Reopen(t, mem).SetAside(ctx, []pack.FileID{all[0].ID}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if done := pruneAll(t, mem); done.Missing+done.Lost > 0 {
			t.Errorf("%+v", done)
		}
	}
	r := snapshottest.Reopen(t, mem)
	left, dropped, err := ReviewAside(ctx, r, func(chunk.ID) error { return nil })
	if err != nil || len(left) != 1 || left[0].ID != all[0].ID || len(dropped) != broken || len(storetest.Names(t, mem, "aside")) != 1 {
		t.Fatalf("%v stay, %v go, %v", left, dropped, err)
	}
	back, err := snapshot.PutBack(ctx, snapshottest.Reopen(t, mem), []pack.FileID{all[0].ID})
	if err != nil || len(back) != 1 || back[0].ID == all[0].ID {
		t.Fatalf("%v, %v", back, err)
	}
	if all, bad, err := snapshot.Load(ctx, snapshottest.Reopen(t, mem)); err != nil || len(bad) > 0 || len(all) != len(storetest.Names(t, mem, "snapshots")) {
		t.Errorf("%v, %v, %v", all, bad, err)
	}
}
