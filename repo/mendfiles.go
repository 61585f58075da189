package repo

import (
	"context"
	"fmt"

	"platter/index"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/store"
)

// A Copy is another repository with the same id, and what to call it.
type Copy struct {
	Name string
	Repo *Repo
}

// maxParityFile is how long a parity file may be, in bytes.
const maxParityFile = 1040 << 20

// MendFiles puts packs back whole: from what is left of them and their parity files, or from copies of the repository. What
// is put has the pack's name, or nothing is put.
func (d *Damage) MendFiles(ctx context.Context, copies []Copy) error {
	var mended []pack.ID
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

// whole returns the pack as it was and where it was had from, nil where it cannot be had.
func (d *Damage) whole(ctx context.Context, b *BadPack, copies []Copy) (file []byte, from string, err error) {
	right := func(file []byte) bool { return len(file) > 0 && pack.Sum(file) == b.ID }
	left, err := d.repo.readLeft(ctx, b.Name(), b.there)
	if err != nil {
		return nil, "", err
	}
	if right(left) {
		return left, "reading it again", nil
	}
	if b.size > 0 && b.size < int64(len(left)) && right(left[:b.size]) {
		return left[:b.size], "cutting off what was behind it", nil
	}
	file, err = d.fromParity(ctx, b, left)
	if err != nil || file != nil {
		return file, "its parity file", err
	}
	for _, c := range copies {
		// What is wrong with the copy is no fault of this repository, and there may be others.
		if file, err := readWhole(ctx, c.Repo.store, b.Name(), pack.MaxSize); err == nil && right(file) {
			return file, c.Name, nil
		}
	}
	return nil, "", ctx.Err()
}

// fromParity returns the pack as its parity file gives it, nil where it does not.
func (d *Damage) fromParity(ctx context.Context, b *BadPack, left []byte) ([]byte, error) {
	name := b.Name() + ".par"
	size := int64(-1)
	for f, err := range d.repo.store.List(ctx, b.Name()[:len(packsDir)+3]) {
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", name, err)
		}
		if f.Name == name && !f.Odd && f.Size <= maxParityFile {
			size = f.Size
		}
	}
	par, err := d.repo.readLeft(ctx, name, size)
	if err != nil || par == nil {
		return nil, err
	}
	want := b.size
	if want == 0 {
		g, err := parity.Describe(par)
		if err != nil {
			return nil, nil // it mends nothing, which is all there is to know of it here
		}
		want = g.Size
	}
	file, _, err := parity.Repair(left, want, par, b.ID)
	if err != nil {
		return nil, nil
	}
	return file, nil
}

// readLeft returns a file of so many bytes as far as it can be read, zeros in the place of all else; nil for less than none.
// The error is the store's that does not answer.
func (r *Repo) readLeft(ctx context.Context, name string, size int64) ([]byte, error) {
	if size < 0 || size > maxParityFile {
		return nil, nil
	}
	file := make([]byte, size)
	for _, step := range []int64{readBlock, parity.Sector} {
		failed := false
		for off := int64(0); off < size; off += step {
			part := file[off:min(off+step, size)]
			bad, err := r.steady(ctx, func() error {
				got, err := store.GetInto(ctx, r.store, part[:len(part):len(part)], name, off, int64(len(part)))
				copy(part, got)
				return err
			})
			if err != nil {
				return nil, err
			}
			if gone(bad) {
				return nil, nil
			}
			failed = failed || bad != nil
		}
		if !failed {
			break
		}
	}
	return file, nil
}

// putBack gives the pack's name to its bytes again.
func (d *Damage) putBack(ctx context.Context, b *BadPack, file []byte) error {
	r := d.repo
	if err := r.store.Put(ctx, b.Name(), file); err != nil {
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
		r.index.AddPack(p, table)
	} else {
		d.adopted = append(d.adopted, index.PackTable{Pack: p, Table: table})
	}
	return nil
}
