package anatomy

import (
	"math"

	"platter/snapshot/image/gpt"
)

// An MBR counts in sectors without saying how long they are. They are usually as long as the disk's. They are not if
// an image was copied to a disk with other sectors, and the sectors of an image's disk are unknown.

// mbrPartitions adds the partitions of an MBR, counted in the disk's sectors, or in 512 bytes if those are unknown.
// If it finds no content that way, but does with another sector length, it uses that one.
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
			r.note("its MBR counts in sectors of %d bytes, judging by the content, and the disk has sectors of %d: no system finds the partitions", unit, r.sector)
		case i > 0:
			r.note("its sectors are probably %d bytes long, judging by the content", unit)
		}
		return
	}
	*d, r.notes = first, firstNotes
	if r.sector == 0 && m.isDoubtful(r.size, units) {
		d.Doubtful = true
		r.note("the length of the sectors that its MBR counts in is unknown: the partitions may be elsewhere")
	}
}

// hasContent reports whether any partition has content where the table says. A partition at the disk's start proves
// nothing: it is there whatever the sector length.
func hasContent(d *Disk) bool {
	for _, p := range d.Partitions {
		if p.Number > 4 || p.Content != nil && p.Off > 0 && p.Content.Size <= p.Len {
			return true
		}
	}
	return false
}

// isDoubtful reports whether the entries fit a disk of size bytes with sectors of several lengths. A length does not
// fit if a partition would extend past the disk's end. If the first partition begins at the second track, or at 1
// MiB, as tools that count in 512 bytes place it, then 512 is certain.
func (m *mbr) isDoubtful(size int64, units []int64) bool {
	const track, mib = 63, 2048
	first := uint32(math.MaxUint32)
	for _, e := range m.entries {
		if !e.IsEmpty() {
			first = min(first, e.First)
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

// end returns the sector after the last partition.
func (m *mbr) end() (end int64) {
	for _, e := range m.entries {
		if !e.IsEmpty() {
			end = max(end, int64(e.First)+int64(e.Count))
		}
	}
	return end
}
