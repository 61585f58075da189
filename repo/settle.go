package repo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"platter/pack"
	"platter/repo/layout"
)

// Settle makes what was found known to others: damaged packs are named in a plan, which takes the place of older ones, so
// that nobody builds upon them; and packs that no index file lists are taken in.
func (d *Damage) Settle(ctx context.Context) error {
	r := d.repo
	var packs []pack.FileID
	for _, b := range d.Packs {
		if d.bad[b.ID] != nil && b.there >= 0 {
			packs = append(packs, b.ID)
		}
	}
	if err := d.plan(ctx, packs); err != nil {
		return fmt.Errorf("note which packs are damaged: %w", err)
	}
	r.orphans = slices.DeleteFunc(r.orphans, func(f layout.File) bool {
		return slices.ContainsFunc(d.Packs, func(b *BadPack) bool { return b.ID == f.ID })
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
		r.index.AddPack(t.Pack, t.Table)
	}
	d.adopted = nil
	return nil
}

// plan says which packs are damaged, and then takes back what older plans say of that.
func (d *Damage) plan(ctx context.Context, packs []pack.FileID) error {
	var said, old []pack.FileID
	for id, p := range d.work.plans {
		if p.says.Damaged {
			said, old = append(said, p.says.Packs...), append(old, id)
		}
	}
	slices.SortFunc(said, func(a, b pack.FileID) int { return bytes.Compare(a[:], b[:]) })
	if slices.Equal(said, packs) {
		return nil
	}
	host, _ := os.Hostname() // only for people to read
	for part := range slices.Chunk(packs, packsPerPlan) {
		p := plan{Packs: part, Damaged: true, Host: host, Time: d.repo.now().UTC().Truncate(time.Second)}
		if _, err := d.repo.putPlan(ctx, p); err != nil {
			return err
		}
	}
	for _, id := range old {
		if err := d.repo.store.Delete(ctx, layout.Name(layout.Work, id)); err != nil && !layout.IsMissing(err) {
			return err
		}
	}
	return nil
}
