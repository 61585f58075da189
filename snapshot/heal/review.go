package heal

import (
	"context"

	"platter/chunk"
	"platter/pack"
	"platter/snapshot"
)

// Aside is the part of a *repo.Repo that ReviewAside needs.
type Aside interface {
	snapshot.AsideFiles
	snapshot.Indexed
	// DropAside deletes snapshots that are kept aside.
	DropAside(ctx context.Context, ids []pack.FileID) error
}

// ReviewAside examines the snapshots that are set aside. It runs after a check that found all others whole and read all
// their data. It deletes those that are still damaged, because their replacements are whole. Those that are whole again
// stay, so that the user can put them back.
func ReviewAside(ctx context.Context, r Aside, bad func(chunk.ID) error) (whole []*snapshot.Snapshot, dropped []pack.FileID, err error) {
	aside, unreadable, err := snapshot.LoadAside(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	check := snapshot.NewMapCheck(r, bad)
	losses, err := check.All(ctx, aside)
	if err != nil {
		return nil, nil, err
	}
	broken := map[pack.FileID]bool{}
	for _, l := range losses {
		broken[l.Snapshot.ID] = true
	}
	for _, s := range aside {
		if !broken[s.ID] {
			whole = append(whole, s)
		} else if check.Passing == nil {
			dropped = append(dropped, s.ID)
		}
	}
	for _, u := range unreadable {
		if u.IsDamaged() {
			dropped = append(dropped, u.ID)
		}
	}
	return whole, dropped, r.DropAside(ctx, dropped)
}
