package heal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"platter/chunk"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo"
	"platter/repo/repotest"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/imagetest"
	"platter/snapshot/snapshottest"
)

// keptDisk backs up versions of a disk to a repository of small packs, and returns its files and the disks, oldest
// first.
func keptDisk(t testing.TB, rnd *rand.Rand, versions, size int) (map[string][]byte, [][]byte) {
	t.Helper()
	mem := new(store.Mem)
	settings := repo.DefaultSettings
	settings.PackSize, settings.FrameSize = repo.MinPackSize, 256<<10
	r := repotest.New(t, mem, settings)
	disk, noise := make([]byte, size), rand.NewChaCha8([32]byte{byte(rnd.Uint32())})
	for _, off := range []int{0, size / 2, size - 900<<10} {
		noise.Read(disk[off : off+900<<10])
	}
	var parent *snapshot.Snapshot
	var disks [][]byte
	for range versions {
		s := &snapshot.Snapshot{Name: fmt.Sprint("disk", len(disks)), Host: "host"}
		if err := backup.Disk(context.Background(), r, image.Mem{Data: disk, Holes: true}, parent, s, nil); err != nil {
			t.Fatal(err)
		}
		disks, parent = append(disks, disk), s
		disk = bytes.Clone(disk)
		at := []int{0, size / 2, size - 900<<10}[len(disks)%3] + rnd.IntN(600<<10)
		noise.Read(disk[at : at+200<<10])
	}
	return storetest.Files(t, mem), disks
}

// hurt damages some packs, and returns the files afterwards, and the packs that are not whole.
func hurt(rnd *rand.Rand, whole map[string][]byte) (hurt map[string][]byte, bad []string) {
	hurt = maps.Clone(whole)
	for _, name := range repotest.Packs(whole) {
		data := bytes.Clone(whole[name])
		at := rnd.IntN(len(data))
		switch rnd.IntN(9) {
		case 0:
			delete(hurt, name)
		case 1:
			hurt[name] = data[:at]
		case 2:
			hurt[name] = append(data, 0)
		case 3, 4, 5:
			data[at] ^= 1
			hurt[name] = data
		default:
			continue
		}
		bad = append(bad, name)
	}
	return hurt, bad
}

// scratch damages some sectors of some packs, never more than parity can restore.
func scratch(rnd *rand.Rand, whole map[string][]byte) (hurt map[string][]byte, bad []string) {
	hurt = maps.Clone(whole)
	for i, name := range repotest.Packs(whole) {
		data := bytes.Clone(whole[name])
		n := 1 + rnd.IntN(max(1, len(data)/4096*3/100))
		switch at := rnd.IntN(len(data)/4096 - n + 1); {
		case i%2 > 0:
			continue
		case rnd.IntN(3) == 0:
			hurt[name] = data[:len(data)-1]
		default:
			clear(data[at*4096 : (at+n)*4096])
			data[at*4096]++
			hurt[name] = data
		}
		bad = append(bad, name)
	}
	return hurt, bad
}

// withParity returns a repository whose packs have parity files.
func withParity(t testing.TB, whole map[string][]byte) map[string][]byte {
	t.Helper()
	out := maps.Clone(whole)
	for _, name := range repotest.Packs(whole) {
		id, err := pack.ParseFileID(name[len("packs/xx/"):])
		if err != nil {
			t.Fatal(err)
		}
		if out[name+".par"], err = parity.Encode(whole[name], id, 30); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// wantDisks fails unless every version is read back unchanged.
func wantDisks(t *testing.T, s store.Store, disks [][]byte) {
	t.Helper()
	r := snapshottest.Reopen(t, s)
	// A reader with a lease takes damage markers into account.
	err := r.WithLease(context.Background(), repo.BackingUp, func(context.Context) error {
		allDisks(t, r, disks)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func allDisks(t *testing.T, r *repo.Repo, disks [][]byte) {
	t.Helper()
	all, bad, err := snapshot.Load(context.Background(), r)
	if err != nil || len(bad) > 0 || len(all) != len(disks) {
		t.Fatalf("%d versions, %v, %v", len(all), bad, err)
	}
	losses, err := snapshot.CheckMaps(context.Background(), r, all, func(chunk.ID) error { return nil })
	if err != nil || len(losses) > 0 {
		t.Fatalf("%v, %v", losses, err)
	}
	for i, disk := range disks {
		s, _, err := snapshot.Find(all, fmt.Sprint("disk", i), time.Now())
		if err != nil || !bytes.Equal(snapshottest.Contents(t, r, s), disk) {
			t.Fatalf("version %d differs (%v)", i, err)
		}
	}
}

// rescueFrom returns options with one kind of source for lost data.
func rescueFrom(t testing.TB, kind string, whole map[string][]byte, disks [][]byte) (o MendOptions) {
	t.Helper()
	o.ReadAll = true
	switch kind {
	case "copy":
		o.Copies = []repo.Copy{{Name: "copy", Repo: snapshottest.Reopen(t, storetest.MemOf(t, whole))}}
	case "disks":
		for _, disk := range disks {
			o.Disks = append(o.Disks, Holder{"disk", image.Mem{Data: disk, Holes: true}})
		}
	case "another repository":
		other := snapshottest.Repo(t, new(store.Mem))
		for _, disk := range disks {
			d, err := backuptest.Keep(t, other, image.Mem{Data: disk, Holes: true}).Open(context.Background(), other)
			if err != nil {
				t.Fatal(err)
			}
			o.Disks = append(o.Disks, Holder{"snapshot", d})
		}
	}
	return o
}

// TestRepairPacks damages packs at random and mends them from all kinds of sources. A dry run before that must change
// nothing and report the same.
func TestRepairPacks(t *testing.T) {
	ctx := context.Background()
	for _, kind := range []string{"copy", "disks", "another repository", "parity"} {
		for seed := range uint64(4) {
			if testing.Short() && seed != 1 {
				continue
			}
			rnd := rand.New(rand.NewPCG(seed, 31))
			whole, disks := keptDisk(t, rnd, 3, []int{3 << 20, diskmap.RegionSize + 2<<20}[seed/3])
			do := hurt
			if kind == "parity" {
				whole, do = withParity(t, whole), scratch
			}
			damaged, bad := do(rnd, whole)
			mem := storetest.MemOf(t, damaged)
			o := rescueFrom(t, kind, whole, disks)

			dry := repotest.Open(t, store.DryRun{Store: mem})
			o.DryRun = true
			foretold, err := RepairPacks(ctx, dry, o, nil)
			if err != nil || foretold.Lacking > 0 || len(foretold.Packs) != len(bad) {
				t.Fatalf("%s %d: dry run: %+v, %v", kind, seed, foretold, err)
			}
			if !maps.EqualFunc(storetest.Files(t, mem), damaged, bytes.Equal) {
				t.Fatalf("%s %d: the dry run changed files", kind, seed)
			}

			o.DryRun = false
			done, err := RepairPacks(ctx, snapshottest.Reopen(t, mem), o, nil)
			if err != nil || len(done.Losses) > 0 || len(done.Packs) != len(bad) {
				t.Fatalf("%s %d: %+v, %v", kind, seed, done, err)
			}
			for i, b := range done.Packs {
				if b.Name() != bad[i] || (kind == "copy" || kind == "parity") && b.Mended == "" || b.Mended != foretold.Packs[i].Mended {
					t.Errorf("%s %d: %s is not whole (%q), want %s", kind, seed, b.Name(), b.Mended, bad[i])
				}
				if got := storetest.Files(t, mem)[b.Name()]; b.Mended != "" && !bytes.Equal(got, whole[b.Name()]) {
					t.Errorf("%s %d: %s is not what it was", kind, seed, b.Name())
				}
			}
			wantDisks(t, mem, disks)
			if again, err := RepairPacks(ctx, snapshottest.Reopen(t, mem), MendOptions{}, nil); err != nil || len(again.Losses) > 0 {
				t.Errorf("%s %d: the second repair: %+v, %v", kind, seed, again, err)
			}
		}
	}
}

// TestRepairPacksLeavesWholeOnesAlone checks that a repair of an undamaged repository changes nothing.
func TestRepairPacksLeavesWholeOnesAlone(t *testing.T) {
	whole, disks := keptDisk(t, rand.New(rand.NewPCG(1, 1)), 2, 4<<20)
	mem := storetest.MemOf(t, whole)
	done, err := RepairPacks(context.Background(), snapshottest.Reopen(t, mem), rescueFrom(t, "disks", whole, disks), nil)
	if err != nil || len(done.Packs)+len(done.Losses)+len(done.Found) > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if !maps.EqualFunc(storetest.Files(t, mem), whole, bytes.Equal) {
		t.Error("files were changed")
	}
}

// TestRepairPacksNotes checks that a damage marker names a pack that stays damaged, that no backup builds on that pack,
// and that the marker is deleted when the pack is whole again.
func TestRepairPacksNotes(t *testing.T) {
	ctx := context.Background()
	whole, disks := keptDisk(t, rand.New(rand.NewPCG(2, 1)), 1, 4<<20)
	damaged := maps.Clone(whole)
	name := slices.MaxFunc(repotest.Packs(whole), func(a, b string) int { return cmp.Compare(len(whole[a]), len(whole[b])) })
	damaged[name] = bytes.Clone(whole[name])
	for at := 0; at < len(damaged[name]); at += 4096 {
		damaged[name][at] ^= 1
	}
	mem := storetest.MemOf(t, damaged)
	done, err := RepairPacks(ctx, snapshottest.Reopen(t, mem), MendOptions{ReadAll: true}, nil)
	if err != nil || len(done.Losses) != 1 || done.Lacking == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if n := len(storetest.Names(t, mem, "work")); n != 1 {
		t.Fatalf("%d files are in work, want the note", n)
	}
	// The next repair knows this without reading anything. A partly damaged disk still supplies some chunks.
	half := image.Mem{Data: bytes.Clone(disks[0])}
	for at := 0; at+4096 <= len(half.Data); at += 300 << 10 { // fewer places than the pack has chunks
		clear(half.Data[at : at+4096])
	}
	some, err := RepairPacks(ctx, snapshottest.Reopen(t, mem), MendOptions{Disks: []Holder{{"half", half}}}, nil)
	if err != nil || len(some.Packs) != 1 || some.Lacking == 0 || some.Lacking >= done.Lacking || len(some.Losses) != 1 {
		t.Fatalf("%+v, %v", some, err)
	}
	if s := backuptest.Keep(t, snapshottest.Reopen(t, mem), image.Mem{Data: disks[0], Holes: true}); s.Stats.New == 0 {
		t.Error("a backup built upon a damaged pack")
	}
	if done, err := RepairPacks(ctx, snapshottest.Reopen(t, mem), MendOptions{}, nil); err != nil || len(done.Packs) != 1 || len(done.Losses) > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if err := mem.Put(ctx, name, whole[name]); err != nil {
		t.Fatal(err)
	}
	if done, err := RepairPacks(ctx, snapshottest.Reopen(t, mem), MendOptions{}, nil); err != nil || len(done.Packs)+len(done.Losses) > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if n := len(storetest.Names(t, mem, "work")); n > 0 {
		t.Errorf("%d files are in work", n)
	}
}

// TestRepairPacksFromFailingDisks has two disks that cannot be read, each in different places.
func TestRepairPacksFromFailingDisks(t *testing.T) {
	ctx := context.Background()
	whole, disks := keptDisk(t, rand.New(rand.NewPCG(3, 1)), 1, 4<<20)
	damaged := maps.Clone(whole)
	// The missing pack is not that of the map.
	lost := slices.DeleteFunc(repotest.Packs(whole), func(name string) bool { return len(whole[name]) < 512<<10 })[0]
	delete(damaged, lost)
	mem := storetest.MemOf(t, damaged)
	var o MendOptions
	for i := range int64(2) {
		o.Disks = append(o.Disks, Holder{fmt.Sprint(i), &imagetest.Faulty{
			Disk:    image.Mem{Data: disks[0]},
			Bad:     imagetest.Where(func(off int64) bool { return off>>19%2 == i && off%(64<<10) < 4096 }, errors.New("medium error")),
			Partial: true,
		}})
	}
	o.Disks = append(o.Disks, Holder{"well", image.Mem{Data: disks[0][:1<<20]}})
	done, err := RepairPacks(ctx, snapshottest.Reopen(t, mem), o, nil)
	if err != nil || len(done.Found) < 2 || done.Found[1].Skipped == 0 || done.Found[1].Chunks == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if len(done.Losses) == 0 {
		wantDisks(t, mem, disks)
	}
}

// TestRepairPacksAfterTheIndexForgot deletes packs and rebuilds the index without them. Only maps name the chunks of
// those packs. Chunks below a missing page become known only when the page is recovered.
func TestRepairPacksAfterTheIndexForgot(t *testing.T) {
	ctx := context.Background()
	for _, kind := range []string{"copy", "disks"} {
		whole, disks := keptDisk(t, rand.New(rand.NewPCG(4, 1)), 2, diskmap.RegionSize+2<<20)
		damaged := maps.Clone(whole)
		for _, name := range repotest.Packs(whole) {
			delete(damaged, name)
		}
		mem := storetest.MemOf(t, damaged)
		if _, err := snapshottest.Reopen(t, mem).RepairIndex(ctx, nil); err != nil {
			t.Fatal(err)
		}
		done, err := RepairPacks(ctx, snapshottest.Reopen(t, mem), rescueFrom(t, kind, whole, disks), nil)
		if err != nil || len(done.Losses) > 0 {
			t.Fatalf("%s: %+v, %v", kind, done, err)
		}
		wantDisks(t, mem, disks)
	}
}

// everyOp runs work with each call of the store failing in turn, in three ways, and then passes the store to after.
func everyOp(t *testing.T, start map[string][]byte, work func(*repo.Repo) error, after func(mem *store.Mem, err error)) {
	t.Helper()
	broken := errors.New("broken")
	for _, mode := range []string{"fails", "answer lost", "all fail from there on"} {
		if testing.Short() && mode != "fails" {
			continue
		}
		for i := int64(0); ; i++ {
			mem := storetest.MemOf(t, start)
			s := &storetest.Faulty{Store: mem}
			r := repotest.Open(t, s)
			first := s.Ops()
			switch mode {
			case "fails":
				s.Fail = storetest.Nth(i, broken)
			case "answer lost":
				s.Lose = storetest.Nth(i, broken)
			default:
				s.Fail = storetest.After(i, broken)
			}
			err := work(r)
			if err != nil && !errors.Is(err, broken) {
				t.Fatalf("call %d %s: %v", i, mode, err)
			}
			for _, name := range storetest.Names(t, mem, "work") { // as if the holders were dead
				if err := mem.Delete(context.Background(), name); err != nil {
					t.Fatal(err)
				}
			}
			after(mem, err)
			if t.Failed() {
				t.Fatalf("call %d %s (%v)", i, mode, err)
			}
			if s.Ops()-first <= i {
				break
			}
		}
	}
}

// TestRepairPacksEveryOpFails checks that an interrupted repair loses nothing that was whole, and that the next one
// works.
func TestRepairPacksEveryOpFails(t *testing.T) {
	ctx := context.Background()
	for _, kind := range []string{"disks", "copy", "parity"} {
		if testing.Short() && kind != "disks" {
			break
		}
		rnd := rand.New(rand.NewPCG(5, 1))
		whole, disks := keptDisk(t, rnd, 1, 2<<20)
		if kind == "parity" {
			whole = withParity(t, whole)
		}
		damaged := maps.Clone(whole)
		packs := repotest.Packs(whole)
		for i, name := range packs[:2] {
			data := bytes.Clone(whole[name])
			data[len(data)/2] ^= 1
			if damaged[name] = data; i > 0 && kind != "parity" {
				delete(damaged, name)
			}
		}
		o := rescueFrom(t, kind, whole, disks)
		repair := func(r *repo.Repo) error {
			done, err := RepairPacks(ctx, r, o, nil)
			if err == nil && len(done.Losses) > 0 {
				t.Errorf("%s: %+v", kind, done.Losses)
			}
			return err
		}
		everyOp(t, damaged, repair, func(mem *store.Mem, err error) {
			now := storetest.Files(t, mem)
			for name, data := range damaged {
				if !bytes.Equal(now[name], data) && !bytes.Equal(now[name], whole[name]) {
					t.Errorf("%s: %s is neither what it was nor whole", kind, name)
				}
			}
			if err := repair(snapshottest.Reopen(t, mem)); err != nil {
				t.Errorf("%s: the next repair: %v", kind, err)
			}
			wantDisks(t, mem, disks)
		})
	}
}
