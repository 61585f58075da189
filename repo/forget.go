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

// A record lists snapshots that were forgotten. Without it, another machine that knows these snapshots could suspect a
// store that hides them.
type record struct {
	Time      time.Time     `json:"time"` // by the clock of the machine that forgot them, for display
	Host      string        `json:"host"`
	Snapshots []pack.FileID `json:"snapshots"`
	Left      *int          `json:"left,omitempty"` // how many snapshots stayed; nil if they were not counted
}

// idsPerRecord keeps a record's file well below layout.MaxRecord.
const idsPerRecord = 100_000

// Forget removes snapshot files one by one in the given order, and returns how many are removed. Their data stays until
// a prune. A snapshot that is already missing counts as removed, because another process was first. After an error or a
// crash, the remaining snapshots are unchanged. If another process reads one of them, the error is a *HeldError and
// nothing is removed.
//
// The record is put first. If there is no room for it, Forget puts it after the removal, which makes room. Then a crash
// may leave no record.
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

// forget is Forget for snapshots that no process reads.
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
			return len(ids), fmt.Errorf("the versions are forgotten, but the record of that could not be written, so other machines will report them as missing: %w", err)
		}
	}
	return len(ids), nil
}

func (r *Repo) putRecord(ctx context.Context, ids []pack.FileID, left *int) error {
	host, _ := os.Hostname() // for display
	for part := range slices.Chunk(ids, idsPerRecord) {
		says := record{r.now().UTC().Truncate(time.Second), host, part, left}
		if _, err := r.putJSON(ctx, layout.Forgotten, pack.RecordFile, crypt.Forgotten, says); err != nil {
			return fmt.Errorf("record what is forgotten: %w", err)
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

// Forgotten returns the snapshots among ids that records list as forgotten. An unreadable record counts as empty.
func (r *Repo) Forgotten(ctx context.Context, ids []pack.FileID) (map[pack.FileID]bool, error) {
	left, forgotten := map[pack.FileID]bool{}, map[pack.FileID]bool{}
	for _, id := range ids {
		left[id] = true
	}
	files, err := layout.List(ctx, r.view().store, layout.Forgotten)
	if err != nil {
		return nil, err
	}
	// A missing snapshot was most likely forgotten lately.
	slices.SortFunc(files, func(a, b layout.File) int { return b.Time.Compare(a.Time) })
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
