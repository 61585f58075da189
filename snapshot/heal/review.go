package heal

import (
	"context"
	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/snapshot"
)

// ReviewAside looks at the snapshots that are kept aside once a check has found that all others are whole, and has read all that
// they are made of. Those that are still damaged are deleted: what took their place is whole. Those that are whole again stay,
// for somebody to put back.
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
