package anatomy

import (
	"math"

	"platter/snapshot/image/gpt"
)

// An MBR counts in sectors and does not say how long they are. As a rule they are the disk's. They are not where an image was
// copied to a disk with other sectors, and of an image nobody knows which the disk had.

// mbrPartitions takes the partitions of an MBR in, counted in the disk's sectors, or in 512 bytes where nobody knows those;
// unless nothing at all is found that way, and something is with others.
func (r *reader) mbrPartitions(d *Disk, m *mbr) {
	notes := r.notes[:len(r.notes):len(r.notes)]
	units := gpt.Sectors(r.sector)
	var first Disk
	var firstNotes []string
	for i, unit := range units {
		r.notes = notes
		in := *d
		if i > 0 && m.end() > r.size/unit {
			continue
		}
		if r.mbrIn(&in, m, unit); i == 0 {
			first, firstNotes = in, r.notes
		}
		if !hasContent(&in) {
			continue
		}
		switch *d = in; {
		case i > 0 && r.sector != 0:
			r.note("its MBR counts in sectors of %d bytes, by what lies where, and the disk has sectors of %d: no system finds the partitions", unit, r.sector)
		case i > 0:
			r.note("its sectors are taken to be %d bytes long, because of what lies where", unit)
		}
		return
	}
	*d, r.notes = first, firstNotes
	if r.sector == 0 && m.isDoubtful(r.size, units) {
		d.Doubtful = true
		r.note("nothing tells how long the sectors are that its MBR counts in: the partitions may lie elsewhere")
	}
}

// hasContent reports whether something lies where a table says. What begins with the disk begins there whatever the table
// counts in.
func hasContent(d *Disk) bool {
	for _, p := range d.Partitions {
		if p.Number > 4 || p.Content != nil && p.Off > 0 && p.Content.Size <= p.Len {
			return true
		}
	}
	return false
}

// isDoubtful reports whether the entries could be meant in sectors of several lengths, on a disk of size bytes. They cannot
// where the partitions would reach beyond its end; and those of 512 bytes are certain where the first partition begins as
// tools that count in them have it begin: with the second track, or at 1 MiB.
func (m *mbr) isDoubtful(size int64, units []int64) bool {
	const track, mib = 63, 2048
	first := uint32(math.MaxUint32)
	for _, e := range m.entries {
		if !e.isEmpty() {
			first = min(first, e.first)
		}
	}
	if first == track || first == mib {
		return false
	}
	fitting := 0
	for _, unit := range units {
		if m.end() <= size/unit {
			fitting++
		}
	}
	return fitting > 1
}

// end is the sector behind the last partition.
func (m *mbr) end() (end int64) {
	for _, e := range m.entries {
		if !e.isEmpty() {
			end = max(end, int64(e.first)+int64(e.count))
		}
	}
	return end
}
