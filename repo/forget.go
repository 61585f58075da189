package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// A record says which snapshots somebody removed on purpose. Without it, another machine that knows of them could not tell
// that from a NAS that hides them.
type record struct {
	Time      time.Time     `json:"time"` // by the clock of whoever removed them: for people
	Host      string        `json:"host"`
	Snapshots []pack.FileID `json:"snapshots"`
	Left      *int          `json:"left,omitempty"` // how many snapshots stayed; nil where nobody counted
}

// idsPerRecord keeps a record's file well below maxRecord.
const idsPerRecord = 100_000

// Forget removes snapshot files, one after the other in the order given, and returns how many are gone. What they are made
// of stays until it is pruned. One that is not there any more counts as removed: somebody else was first. After an error,
// or a crash, the rest are there as before. The error is a *HeldError where one of them is being read, and then nothing is removed.
//
// A record of it comes first. Where there is no room for one, there is some afterwards; it may then be missing after a crash.
func (r *Repo) Forget(ctx context.Context, ids []pack.FileID) (removed int, err error) {
	if err := r.writable(); err != nil {
		return 0, err
	}
	o, err := r.leases.Observe(ctx, Forgetting)
	if err != nil {
		return 0, fmt.Errorf("forget snapshots: %w", err)
	}
	defer o.Close(ctx)
	if err := heldOf(ctx, o, ids); err != nil {
		return 0, fmt.Errorf("forget snapshots: %w", err)
	}
	return r.forget(ctx, ids)
}

// forget is Forget of versions that nobody reads.
func (r *Repo) forget(ctx context.Context, ids []pack.FileID) (removed int, err error) {
	there, err := r.ListSnapshots(ctx)
	if err != nil {
		return 0, fmt.Errorf("forget snapshots: %w", err)
	}
	left := len(without(there, ids))
	recorded := r.putRecord(ctx, ids, &left)
	if recorded != nil && !errors.Is(recorded, store.ErrFull) {
		return 0, fmt.Errorf("forget snapshots: %w", recorded)
	}
	for i, id := range ids {
		if err := r.view().store.Delete(ctx, layout.Name(layout.Snapshots, id)); err != nil && !layout.IsMissing(err) {
			return i, fmt.Errorf("forget snapshots, %d of %d done: %w", i, len(ids), err)
		}
	}
	if recorded != nil {
		if err := r.putRecord(ctx, ids, &left); err != nil {
			return len(ids), fmt.Errorf("the versions are forgotten, but that could not be noted, so other machines will ask where they are: %w", err)
		}
	}
	return len(ids), nil
}

func (r *Repo) putRecord(ctx context.Context, ids []pack.FileID, left *int) error {
	host, _ := os.Hostname() // only for people to read
	for part := range slices.Chunk(ids, idsPerRecord) {
		says := record{r.now().UTC().Truncate(time.Second), host, part, left}
		if _, err := r.putJSON(ctx, layout.Forgotten, pack.RecordFile, crypt.Forgotten, says); err != nil {
			return fmt.Errorf("note what is forgotten: %w", err)
		}
	}
	return nil
}

func (r *Repo) readRecord(ctx context.Context, id pack.FileID) (says record, err error) {
	plain, err := r.openNamed(ctx, layout.Forgotten, id, pack.RecordFile, crypt.Forgotten, layout.MaxRecord)
	if err != nil {
		return says, err
	}
	return says, unmarshal(plain, layout.Name(layout.Forgotten, id), &says)
}

// Forgotten returns those of some snapshots that somebody removed on purpose. A record that cannot be read says nothing.
func (r *Repo) Forgotten(ctx context.Context, ids []pack.FileID) (map[pack.FileID]bool, error) {
	left, forgotten := map[pack.FileID]bool{}, map[pack.FileID]bool{}
	for _, id := range ids {
		left[id] = true
	}
	files, err := layout.List(ctx, r.view().store, layout.Forgotten)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b layout.File) int { return b.Time.Compare(a.Time) }) // what is missed was forgotten lately
	for _, f := range files {
		if len(left) == 0 {
			break
		}
		says, err := r.readRecord(ctx, f.ID)
		if err != nil && !layout.IsPermanent(err) {
			return nil, err
		} else if err != nil {
			continue
		}
		for _, id := range says.Snapshots {
			if left[id] {
				forgotten[id] = true
				delete(left, id)
			}
		}
	}
	return forgotten, nil
}
