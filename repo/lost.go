package repo

import (
	"fmt"
	"slices"

	"platter/chunk"
	"platter/repo/layout"
)

// Lost reports whether a chunk was in damaged packs and cannot be read from any other place.
func (d *Damage) Lost(id chunk.ID) bool {
	if d.readable[id] || !d.repo.view().index.Missing(id) {
		return false
	}
	for _, at := range d.repo.view().index.Places(id) {
		if d.bad[at.Pack] == nil {
			return false
		}
	}
	return true
}

// Wanted reports whether a chunk should be stored again if any source has it: it is lost, or in Missing.
func (d *Damage) Wanted(id chunk.ID) bool {
	if _, ok := d.Missing[id]; ok {
		return true
	}
	return d.Lost(id)
}

// Why returns why a chunk that the index lists cannot be read, or nil.
func (d *Damage) Why(id chunk.ID) error {
	if !d.Lost(id) {
		return nil
	}
	loc, _ := d.repo.view().index.Lookup(id) // the index lists every lost chunk
	if b := d.bad[loc.Pack]; b != nil {
		return b.Why
	}
	return fmt.Errorf("%s: %w", layout.PackName(loc.Pack), errMissing)
}

// Wants returns how many chunks are wanted.
func (d *Damage) Wants() int64 {
	wanted := map[chunk.ID]bool{}
	for _, ids := range d.wanted() {
		for _, id := range ids {
			wanted[id] = true
		}
	}
	return int64(len(wanted))
}

// wanted returns the wanted chunks. A chunk that is in several packs may appear more than once.
func (d *Damage) wanted() map[chunk.Kind][]chunk.ID {
	ids := map[chunk.Kind][]chunk.ID{}
	for id, kind := range d.Missing {
		if _, ok := d.repo.view().index.Lookup(id); !ok {
			ids[kind] = append(ids[kind], id)
		}
	}
	for _, b := range d.still() {
		refs := b.table.Chunks
		for _, f := range b.table.Frames {
			for _, ref := range refs[:f.Chunks] {
				if d.Lost(ref.ID) {
					ids[f.Kind] = append(ids[f.Kind], ref.ID)
				}
			}
			refs = refs[f.Chunks:]
		}
	}
	return ids
}

// still returns the damaged packs whose tables are known.
func (d *Damage) still() []*PackDamage {
	return slices.DeleteFunc(slices.Clone(d.Packs), func(b *PackDamage) bool { return d.bad[b.ID] == nil || b.table == nil })
}
