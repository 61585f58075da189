package restore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/chunk"
	"platter/pack"
	"platter/repo/repotest"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// TestPreflight removes each pack in turn, all of it or its end, and restores in all ways. Each restore either succeeds
// or writes nothing.
func TestPreflight(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 91))
	s := new(store.Mem)
	disk := make([]byte, 22<<20)
	for _, off := range []int{0, 10 << 20} {
		rand.NewChaCha8([32]byte{byte(off >> 20)}).Read(disk[off : off+9<<20])
	}
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
	old := bytes.Repeat([]byte{'x'}, len(disk)+1000)
	whole, part := snap.Whole(), snapshot.Part{Off: 1 << 20, Len: 1 << 20}
	failed := map[bool]int{}
	for _, name := range repotest.Packs(storetest.Files(t, s)) {
		content := storetest.File(t, s, name)
		for _, left := range []int{0, 1 + rnd.IntN(len(content)-1)} {
			err := s.Delete(t.Context(), name)
			if left > 0 {
				err = s.Put(t.Context(), name, content[:left])
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []snapshot.Part{whole, part} {
				failed[tryAll(t, s, snap, p, disk, old)]++
			}
		}
		if err := s.Put(t.Context(), name, content); err != nil {
			t.Fatal(err)
		}
	}
	if failed[true] < 4 || failed[false] < 3 {
		t.Errorf("%d restores failed and %d did not: too few of one kind to prove anything", failed[true], failed[false])
	}
}

// tryAll restores a part in all ways, which must all succeed or all fail. It reports whether they failed.
func tryAll(t *testing.T, s store.Store, snap *snapshot.Snapshot, part snapshot.Part, disk, old []byte) bool {
	t.Helper()
	want := disk[part.Off:part.End()]
	inPlace, there := snapshottest.WriteFile(t, old), snapshottest.WriteFile(t, want)
	fresh, exported := filepath.Join(t.TempDir(), "fresh"), filepath.Join(t.TempDir(), "exported")
	r := snapshottest.Reopen(t, s)
	_, err := ToFile(t.Context(), r, snap, part, inPlace, Options{InPlace: true, Verify: true}, nil)
	var stream, packed bytes.Buffer
	for how, other := range map[string]error{
		"a plan":        second(PlanFile(t.Context(), r, snap, part, fresh, Options{}, nil)),
		"a plan of it":  second(PlanFile(t.Context(), r, snap, part, snapshottest.WriteFile(t, old), Options{InPlace: true}, nil)),
		"a new file":    second(ToFile(t.Context(), r, snap, part, fresh, Options{}, nil)),
		"a stream":      ToStream(t.Context(), r, snap, part, &stream, nil),
		"an image":      second(Export(t.Context(), r, snap, part, exported, ExportOptions{Format: "qcow2"}, nil)),
		"a piped image": ExportStream(t.Context(), r, snap, part, &packed, ExportOptions{Format: "vmdk"}, nil),
	} {
		if (other == nil) != (err == nil) {
			t.Errorf("in place it ends with %v, and %s with %v", err, how, other)
		}
	}
	// If the target has all that is lost, nothing needs fetching, unless the map is lost too.
	lost, isLost := errors.AsType[*LostError](err)
	if err == nil || isLost && !strings.Contains(lost.Error(), "map") {
		if _, err := ToFile(t.Context(), r, snap, part, there, Options{InPlace: true}, nil); err != nil && part.Len == snap.Size {
			t.Errorf("all of it was there, and restoring it says %v", err)
		}
		snapshottest.MustHold(t, there, want)
	}
	if err == nil {
		snapshottest.MustHold(t, inPlace, want)
		return false
	}
	snapshottest.MustHold(t, inPlace, old)
	if stream.Len()+packed.Len() > 0 {
		t.Errorf("%d and %d bytes came before it said %v", stream.Len(), packed.Len(), err)
	}
	for _, path := range []string{fresh, exported} {
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
			t.Errorf("something is left: %v, %v", left, err)
		}
	}
	return true
}

func second[T any](_ T, err error) error { return err }

// TestPreflightWalksOnce checks that the walk visits a shared subtree once: a disk of 2^20 equal regions takes no
// longer than one of a few.
func TestPreflightWalksOnce(t *testing.T) {
	r := snapshottest.Repo(t, new(store.Mem))
	data := []byte("a region that is everywhere")
	size := int64(diskmap.RegionSize) << 20
	var root chunk.ID
	snapshottest.KeepMaps(t, r, nil, func(save func(data []byte) chunk.ID) {
		id := save(diskmap.AppendPage(nil, []diskmap.Piece{{Kind: diskmap.Data, Len: diskmap.RegionSize, ID: chunk.ID{9}}}))
		for level := 1; level <= diskmap.Height(size); level++ {
			var n diskmap.Node
			for i := range n {
				if level < diskmap.Height(size) || int64(i) < size/diskmap.RegionSize>>(8*(level-1)) {
					n[i] = id
				}
			}
			id = save(n.AppendTo(nil, level))
		}
		root = id
	})
	for _, part := range []snapshot.Part{{Len: size}, {Off: 5*diskmap.RegionSize + 17, Len: size - 11*diskmap.RegionSize}} {
		s := &snapshot.Snapshot{Size: size, Root: root}
		m, err := contentOf(r, s, part)
		if err != nil {
			t.Fatal(err)
		}
		n, err := m.lookAhead(t.Context(), nil)
		lost, ok := errors.AsType[*LostError](err)
		if n != part.Len || !ok || lost.Ranges.Bytes != part.Len || lost.Ranges.Count != 1 {
			t.Errorf("%d bytes of a part of %d: %v (%q)", n, part.Len, err, data)
		}
	}
}

// TestRefuseOwn checks that no file of a repository can be overwritten, of any kind, including future ones.
func TestRefuseOwn(t *testing.T) {
	for kind := range 256 {
		file := append(pack.Header(pack.FileKind(kind)), make([]byte, 100)...)
		for _, o := range []int{os.O_RDWR, os.O_RDONLY} {
			f, err := openInPlace(snapshottest.WriteFile(t, file), o, false)
			if err == nil {
				f.Close()
				t.Errorf("a file of kind %d was opened to be written to", kind)
			}
		}
	}
	f, err := openInPlace(snapshottest.WriteFile(t, []byte("platters of food, and no repository")), os.O_RDWR, false)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestRoom checks the error for file systems with this much room.
func TestRoom(t *testing.T) {
	for name, c := range map[string]struct {
		room              room
		data, length, has int64
		needs             int64 // in the error; 0 for no error
		certain           bool
	}{
		"unknown":               {room{free: 1}, 100, 1000, 0, 0, false},
		"enough":                {room{free: 100, known: true, plain: true}, 100, 1000, 0, 0, false},
		"much too little":       {room{free: 50, known: true, plain: true}, 100, 1000, 0, 100, true},
		"perhaps too little":    {room{free: 95, known: true, plain: true}, 100, 1000, 0, 100, false},
		"it may compress":       {room{free: 50, known: true}, 100, 1000, 0, 100, false},
		"no holes":              {room{free: 500, known: true, plain: true, dense: true}, 100, 1000, 0, 1000, true},
		"some of it is there":   {room{free: 50, known: true, plain: true}, 100, 1000, 60, 0, false},
		"little of it is there": {room{free: 20, known: true, plain: true}, 100, 1000, 60, 40, true},
	} {
		lacks := c.room.lacks(c.data, c.length, c.has)
		switch {
		case (lacks != nil) != (c.needs > 0):
			t.Errorf("%s: %v", name, lacks)
		case lacks != nil && (lacks.Needs != c.needs || lacks.Free != c.room.free || lacks.Certain != c.certain):
			t.Errorf("%s: %+v", name, lacks)
		}
		if (lacks.refusal() != nil) != c.certain {
			t.Errorf("%s: refused with %v", name, lacks.refusal())
		}
	}
}
