package anatomy

import (
	"errors"
	"io"

	"platter/snapshot/image/gpt"
)

// ReadAt implements io.ReaderAt. It notes an unreadable range, and returns io.EOF as if the disk ended before it.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, r.read(off, len(p)))
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// gptAt reads the copy at a sector. If there is no valid one, why says what is wrong; why is empty if nothing looks
// like one.
func (r *reader) gptAt(lba uint64, sector int64) (t *gpt.Table, why string) {
	t, err := gpt.ReadCopy(r, lba, sector)
	switch {
	case errors.Is(err, gpt.ErrNone):
		return nil, ""
	case err != nil:
		return nil, err.Error()
	}
	return t, ""
}

// findGPT looks for both copies and returns the one to use. seen reports whether there is, or was, any GPT.
func (r *reader) findGPT() (t *gpt.Table, seen bool) {
	before := r.notes[:len(r.notes):len(r.notes)]
	var left *gpt.Table // a backup without a primary, and the notes for it
	var leftNotes []string
	for _, sector := range gpt.Sectors(r.sector) { // the table may be copied from a disk with other sectors
		if r.size < 3*sector {
			continue
		}
		start := len(r.notes)
		last := uint64(r.size/sector - 1)
		first, why := r.gptAt(1, sector)
		at := last
		if first != nil {
			at = first.Other()
		}
		second, whySecond := r.gptAt(at, sector)
		if first == nil && second == nil {
			if why != "" || whySecond != "" {
				seen = true
				r.gptNote("primary", why)
				r.gptNote("backup", whySecond)
			}
			continue
		}
		if first == nil {
			if why == "" {
				why = "it is missing"
			}
			if left == nil {
				r.note("the primary GPT is damaged (%s); this is the backup", why)
				left, leftNotes = second, r.notes[start:len(r.notes):len(r.notes)]
			}
			continue
		}
		r.notes = append(before, r.notes[start:]...) // other notes are about remains of earlier tables
		r.compareGPT(first, second, whySecond, last)
		return first, true
	}
	if left != nil {
		r.notes = append(before, leftNotes...)
		return left, true
	}
	return nil, seen
}

func (r *reader) gptNote(which, why string) {
	if why == "" {
		why = "it is missing"
	}
	r.note("the %s GPT is damaged (%s)", which, why)
}

// compareGPT notes what is wrong with the backup of a valid table.
func (r *reader) compareGPT(first, second *gpt.Table, why string, last uint64) {
	switch {
	case first.Other() > last:
		r.note("the disk was larger when its GPT was made: the backup should be at sector %d, and the last sector is %d", first.Other(), last)
	case second == nil:
		r.gptNote("backup", why)
	case !first.IsLike(second):
		r.note("the backup GPT differs from the primary; this is the primary")
	}
	if first.Other() < last {
		r.note("the backup GPT is not at the end of the disk; the disk may have grown")
	}
}

// gptPartitions adds the partitions of a GPT.
func (r *reader) gptPartitions(d *Disk, t *gpt.Table) {
	id := t.ID()
	d.Table, d.ID, d.SectorSize = GPT, guid(id[:]), t.Sector
	for e := range t.Entries() {
		p := Partition{Number: e.Number, Type: guid(e.Type[:]), UUID: guid(e.ID[:]), Name: label16(e.Name, le)}
		p.TypeName = gptTypes[p.Type]
		p.Off, p.Len = product(e.First, uint64(t.Sector)), -1
		if e.First <= e.Last && e.Last-e.First < 1<<62 {
			p.Len = product(e.Last-e.First+1, uint64(t.Sector))
		}
		for _, a := range gptFlags {
			if e.Attributes>>a.bit&1 != 0 {
				p.Flags = append(p.Flags, a.name)
			}
		}
		if !r.add(d, p) {
			return
		}
	}
}

const (
	flagBoot     = "boot"
	flagExtended = "extended"
)

// gptFlags are the attributes that matter to people. The higher bits depend on the partition type, but all types that
// use these agree on them.
var gptFlags = []struct {
	bit  int
	name string
}{{2, flagBoot}, {0, "required"}, {60, "read-only"}, {62, "hidden"}, {63, "no-automount"}}
