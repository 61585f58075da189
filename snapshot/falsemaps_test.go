package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/chunk"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/restore"
	"platter/snapshot/snapshottest"
)

// TestFalseMaps checks that a map that names missing or different chunks never yields a disk. However the disk is
// read, the map yields neither zeros nor other bytes in their place.
func TestFalseMaps(t *testing.T) {
	r := snapshottest.Repo(t, new(store.Mem))
	disk := snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 77)), 12<<10)
	short, long := diskmap.Piece{Kind: diskmap.Data, Len: 4 << 10}, diskmap.Piece{Kind: diskmap.Data, Len: 8 << 10}
	roots := map[string]chunk.ID{"no such page": {1}}
	_, err := r.Write(t.Context(), func(ctx context.Context, w *repo.Writer) error {
		lane := w.Lane()
		data := func(p *diskmap.Piece, data []byte) error {
			p.ID = lane.Name(data)
			return lane.Save(ctx, p.ID, data)
		}
		page := func(name string, page []byte) error {
			id, err := w.SaveMap(ctx, page)
			roots[name] = id
			return err
		}
		err := errors.Join(data(&short, disk[:4<<10]), data(&long, disk[4<<10:]), lane.Close(ctx))
		roots["a data chunk for a page"] = long.ID
		longer, shorter, lost := short, long, long
		longer.Len, shorter.Len, lost.ID = long.Len, short.Len, chunk.ID{2}
		return errors.Join(err,
			page("right", diskmap.AppendPage(nil, []diskmap.Piece{short, long})),
			page("no such chunk", diskmap.AppendPage(nil, []diskmap.Piece{short, lost})),
			page("chunks of other lengths", diskmap.AppendPage(nil, []diskmap.Piece{longer, shorter})),
			page("pieces that do not add up", diskmap.AppendPage(nil, []diskmap.Piece{long})),
			page("no page", []byte("no page")))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, root := range roots {
		s := &snapshot.Snapshot{Size: int64(len(disk)), Root: root}
		for how, err := range readAll(t, r, s, disk) {
			if (err == nil) != (name == "right") {
				t.Errorf("%s: %s says %v", name, how, err)
			}
		}
	}
}

// readAll reads a disk in every possible way, and returns each error. A read without an error must return the disk.
func readAll(t *testing.T, r *repo.Repo, s *snapshot.Snapshot, disk []byte) map[string]error {
	t.Helper()
	ended := map[string]error{}
	note := func(how string, err error, got []byte) {
		if ended[how] = err; err == nil && !bytes.Equal(got, disk) {
			t.Errorf("%s gives other bytes", how)
		}
	}
	for how, o := range map[string]restore.Options{"restore": {}, "restore and verify": {Verify: true}, "restore in place": {InPlace: true}} {
		path := filepath.Join(t.TempDir(), "disk")
		if o.InPlace {
			path = snapshottest.WriteFile(t, make([]byte, len(disk)))
		}
		_, err := restore.ToFile(t.Context(), r, s, s.Whole(), path, o, nil)
		got, e := os.ReadFile(path)
		if err != nil && !o.InPlace && !errors.Is(e, fs.ErrNotExist) {
			t.Errorf("%s failed and left %d bytes (%v)", how, len(got), e)
		}
		note(how, err, got)
	}
	var out bytes.Buffer
	err := restore.ToStream(t.Context(), r, s, s.Whole(), &out, nil)
	note("stream", err, out.Bytes())
	got := make([]byte, len(disk))
	opened, err := s.Open(t.Context(), r)
	if err == nil {
		_, err = opened.ReadAt(got, 0)
	}
	note("read", err, got)
	return ended
}
