package repo

import (
	"context"
	"errors"

	"platter/pack"
)

// pruneProgram is a prune that finds unneeded packs, partly needed packs, and an index file that lists both these and
// others.
func pruneProgram() program {
	return program{
		name: "prune",
		prepare: func(x *trial) error {
			if err := errors.Join(x.init(), x.backup(1, 10), x.backup(2, 30)); err != nil {
				return err
			}
			r, err := x.open()
			if err != nil {
				return err
			}
			ids, err := r.ListSnapshots(context.Background())
			if err != nil {
				return err
			}
			before := len(x.now().chunks)
			third := append(noiseChunks(2, 30, 5000)[:15], noiseChunks(1, 10, 5000)[:5]...)
			if err := x.backupOf(third); err != nil {
				return err
			}
			x.change(func(f *facts) {
				f.chunks = f.chunks[before:]
				for _, id := range ids {
					f.snapshots[id] = dropped
				}
			})
			_, err = r.Forget(context.Background(), ids)
			return err
		},
		run: func(x *trial) error {
			r, err := x.open()
			if err == nil {
				_, err = r.Prune(context.Background(), PruneOptions{MaxUnused: 0.3, MaxRepack: 1 << 30}, x.mark(r), nil)
			}
			return err
		},
	}
}

// mark marks the chunks that snapshots name.
func (x *trial) mark(r *Repo) MarkFunc {
	return func(ctx context.Context, snapshots []pack.FileID, m *Marks) error {
		for _, id := range snapshots {
			data, err := r.GetSnapshot(ctx, id)
			if err != nil {
				return err
			}
			needs, err := x.needs(data)
			if err != nil {
				return err
			}
			for _, c := range needs {
				m.Mark(c.id)
			}
		}
		return nil
	}
}
