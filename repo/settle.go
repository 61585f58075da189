package repo

import (
	"context"
	"fmt"
	"slices"

	"platter/pack"
	"platter/repo/layout"
)

// Settle shows other processes what was found. A new damage marker replaces older ones and names the damaged packs, so
// that nothing builds on them. Settle also adopts orphaned packs.
func (d *Damage) Settle(ctx context.Context) error {
	r := d.repo
	var packs []pack.FileID
	for _, b := range d.Packs {
		if d.bad[b.ID] != nil && b.there >= 0 {
			packs = append(packs, b.ID)
		}
	}
	if err := d.mark(ctx, packs); err != nil {
		return err
	}
	r.dropAdoptable(func(f layout.File) bool {
		return slices.ContainsFunc(d.Packs, func(b *PackDamage) bool { return b.ID == f.ID })
	})
	if _, err := r.Adopt(ctx); err != nil {
		return err
	}
	if len(d.adopted) == 0 {
		return nil
	}
	if _, err := r.putIndexes(ctx, d.adopted, nil, fullIndex); err != nil {
		return err
	}
	for _, t := range d.adopted {
		r.view().index.AddPack(t.Pack, t.Table)
	}
	d.adopted = nil
	return nil
}

// mark puts damage markers for packs, and then deletes the earlier damage markers.
func (d *Damage) mark(ctx context.Context, packs []pack.FileID) error {
	var said, old []pack.FileID
	for id, m := range d.work.Markers {
		if m.Value.Damaged {
			said, old = append(said, m.Value.Packs...), append(old, id)
		}
	}
	slices.SortFunc(said, compareIDs)
	if slices.Equal(said, packs) {
		return nil
	}
	if err := d.repo.putDamaged(ctx, packs); err != nil {
		return err
	}
	for _, id := range old {
		if err := d.repo.leases.Unmark(ctx, id); err != nil {
			return fmt.Errorf("record which packs are damaged: %w", err)
		}
	}
	return nil
}
