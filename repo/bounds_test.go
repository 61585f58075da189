package repo

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"platter/index"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// askedFor records the most bytes requested at once from files of each folder.
type askedFor struct {
	store.Store
	mu   sync.Mutex
	most map[string]int64
}

func (s *askedFor) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	s.mu.Lock()
	dir := layout.Dir(name)
	if strings.HasSuffix(name, layout.ParityEnd) {
		dir = "parity"
	}
	s.most[dir] = max(s.most[dir], n)
	s.mu.Unlock()
	return s.Store.Get(ctx, name, off, n)
}

// TestReadsAreBounded checks that no read requests more of a file than such a file may have, plus one byte that shows
// whether it is longer. The store could return all that was requested.
func TestReadsAreBounded(t *testing.T) {
	x := newDamageSample(t)
	s := &askedFor{Store: x.storeOf(t, "", damaged{files: x.files}), most: map[string]int64{}}
	x.look(t, s)
	for dir, limit := range map[string]int64{
		layout.Config: layout.MaxConfig, layout.Keys: layout.MaxSlot, layout.Index: index.MaxFile, layout.Snapshots: layout.MaxSnapshot, layout.Work: layout.MaxMarker, layout.Forgotten: layout.MaxRecord, layout.Verdicts: layout.MaxVerdict,
		layout.Packs: readBlock, "parity": parity.MaxFile,
	} {
		// A read that does not know the file's length reads a whole block.
		if most := s.most[dir]; most == 0 || most > max(limit+1, readBlock) {
			t.Errorf("%d bytes are asked for of %s, at most %d belong there", most, dir, limit)
		}
	}
}

// TestFilesAreBounded checks that a file one byte too long is refused, whatever its origin.
func TestFilesAreBounded(t *testing.T) {
	mem := new(store.Mem)
	r := testRepo(t, mem)
	for length, good := range map[int]bool{layout.MaxSnapshot: true, layout.MaxSnapshot + 1: false} {
		plain := make([]byte, length-pack.HeaderSize-pack.NonceSize-pack.TagSize)
		id, n, err := layout.PutNamed(t.Context(), mem, layout.Snapshots, pack.SnapshotFile, crypt.NewBox(r.master, crypt.Snapshots, r.id).Seal(plain))
		if err != nil || n != int64(length) {
			t.Fatal(n, err)
		}
		if _, err := r.GetSnapshot(t.Context(), id); (err == nil) != good || !good && !errors.Is(err, pack.ErrDamaged) {
			t.Errorf("a snapshot of %d bytes: %v", length, err)
		}
	}
}
