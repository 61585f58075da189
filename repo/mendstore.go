package repo

import (
	"context"
	"fmt"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
)

// A Copy is another repository with the same ID, and a name for it.
type Copy struct {
	Name string
	Repo *Repo
}

// MendFiles restores whole packs, from their own remains and their parity files, or from copies of the repository. It
// puts only bytes that match the pack's name.
func (d *Damage) MendFiles(ctx context.Context, copies []Copy) error {
	var mended []pack.FileID
	for _, b := range d.Packs {
		file, from, err := d.whole(ctx, b, copies)
		if err != nil {
			return err
		}
		if file == nil {
			continue
		}
		if err := d.putBack(ctx, b, file); err != nil {
			return fmt.Errorf("put back %s: %w", b.Name(), err)
		}
		b.Mended = from
		delete(d.bad, b.ID)
		mended = append(mended, b.ID)
	}
	d.trust(mended)
	return nil
}

// whole returns the original bytes of a pack and their origin, or nil if there is none.
func (d *Damage) whole(ctx context.Context, b *PackDamage, copies []Copy) (file []byte, from string, err error) {
	right := func(file []byte) bool { return len(file) > 0 && pack.Sum(file) == b.ID }
	var left []byte
	bad, err := d.repo.steady(ctx, func() (err error) {
		left, err = d.repo.view().store.Get(ctx, b.Name(), 0, min(max(b.there, 0), pack.MaxSize))
		return err
	})
	switch {
	case err != nil:
		return nil, "", err
	case bad != nil: // the parity file may restore it
	case right(left):
		return left, "reading it again", nil
	case b.size > 0 && b.size < int64(len(left)) && right(left[:b.size]):
		return left[:b.size], "cutting off what was behind it", nil
	}
	var m *mended
	bad, err = d.repo.steady(ctx, func() (err error) {
		m, err = d.repo.mendNow(ctx, b.ID)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if bad == nil {
		return m.file, "its parity file", nil
	}
	for _, c := range copies {
		// A fault of the copy is no fault of this repository, and other copies may help.
		if file, err := layout.Read(ctx, c.Repo.view().store, b.Name(), pack.MaxSize); err == nil && right(file) {
			return file, c.Name, nil
		}
	}
	return nil, "", ctx.Err()
}

// putBack puts the original bytes under the pack's name.
func (d *Damage) putBack(ctx context.Context, b *PackDamage, file []byte) error {
	r := d.repo
	if err := r.view().store.Put(ctx, b.Name(), file); err != nil {
		return err
	}
	table, err := pack.ReadTable(int64(len(file)), r.keys, func(off, n int64) ([]byte, error) {
		return file[off:min(off+n, int64(len(file)))], nil
	})
	if err != nil {
		return err
	}
	p := index.Pack{ID: b.ID, Size: int64(len(file))}
	if b.listed {
		r.view().index.AddPack(p, table)
	} else {
		d.adopted = append(d.adopted, index.PackTable{Pack: p, Table: table})
	}
	return nil
}
