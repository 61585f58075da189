package heal

import (
	"context"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/snapshot"
)

// ReviewAside examines the snapshots that are set aside. It runs after a check that found all others whole and read all
// their data. It deletes those that are still damaged, because their replacements are whole. Those that are whole again
// stay, so that the user can put them back.
func ReviewAside(ctx context.Context, r *repo.Repo, bad func(chunk.ID) error) (whole []*snapshot.Snapshot, dropped []pack.FileID, err error) {
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
