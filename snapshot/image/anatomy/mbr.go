package anatomy

import (
	"fmt"

	"platter/snapshot/image/gpt"
)

// maxEmptyEBRs is the number of sectors in a chain without a partition that are followed, as in Linux.
const maxEmptyEBRs = 100

// An mbr is a boot sector with a partition table.
type mbr struct {
	entries    [4]gpt.MBREntry
	id         uint32
	protective bool // an entry stands for a GPT
}

// findMBR returns the table in the first sector of a disk, or nil if there is none. A file system at the disk's start may
// have code there that resembles a table.
func (r *reader) findMBR(sector []byte, whole *section) *mbr {
	if !gpt.IsBootSector(sector) {
		return nil
	}
	m := &mbr{entries: gpt.MBREntries(sector), id: le.Uint32(sector[440:])}
	if m.protective = gpt.IsProtective(sector); m.protective {
		return m
	}
	used := false
	for _, e := range m.entries {
		if e.Boot != 0 && e.Boot != 0x80 {
			return nil
		}
		used = used || !e.IsEmpty()
	}
	if !used {
		return nil // a boot loader without partitions, whose sector has room for a table
	}
	for _, probe := range []prober{bitlocker, fat, exfat, ntfs} {
		if probe(whole) != nil {
			return nil
		}
	}
	return m
}

// table reads the partition table.
func (r *reader) table(whole *section) *Disk {
	d := &Disk{}
	m := r.findMBR(whole.at(0, 512), whole)
	before := len(r.notes)
	g, seen := r.findGPT()
	switch {
	case m != nil && !m.protective:
		if r.notes = r.notes[:before]; g != nil {
			r.note("the disk has an unused GPT from an earlier use: the MBR has no entry for it, so no system uses it")
		}
		r.mbrPartitions(d, m)
	case m != nil && g != nil:
		if m.isHybrid() {
			r.note("it has a hybrid MBR with partitions of its own besides the GPT; this is the GPT")
		}
		r.gptPartitions(d, g)
	case m != nil:
		d.Table = GPT
		if !seen {
			r.note("the MBR says that there is a GPT, but there is none")
		}
	case seen:
		r.orphan(d, g, whole, before)
	}
	return d
}

// orphan handles a GPT without an MBR. Either the first sector was overwritten, or a file system replaced an older table,
// whose backup at the end of the disk remained.
func (r *reader) orphan(d *Disk, g *gpt.Table, whole *section, before int) {
	notes := r.notes[before:]
	r.notes = r.notes[:before:before]
	if d.Content = r.probe(whole, "the disk").content(); d.Content != nil {
		r.note("it has remains of an earlier GPT")
		return
	}
	r.notes = append(r.notes, notes...)
	if r.note("no system uses the GPT as it is: its protective MBR is missing or damaged"); g != nil {
		r.gptPartitions(d, g)
	}
}

// isHybrid reports whether a protective MBR has other partitions.
func (m *mbr) isHybrid() bool {
	for _, e := range m.entries {
		if !e.IsEmpty() && !e.IsGPT() && e.Type != 0 {
			return true
		}
	}
	return false
}

// mbrIn adds the partitions, counted in sectors of so many bytes.
func (r *reader) mbrIn(d *Disk, m *mbr, sector int64) {
	d.Table, d.SectorSize = MBR, sector
	if m.id != 0 {
		d.ID = fmt.Sprintf("%08x", m.id)
	}
	next := 5 // Linux counts logical partitions from here on
	for i, e := range m.entries {
		if !e.IsEmpty() {
			r.add(d, d.mbrPartition(i+1, e, 0))
		}
	}
	for i, e := range m.entries {
		if !e.IsEmpty() && e.IsExtended() {
			next = r.chain(d, i+1, e, next)
		}
	}
}

// mbrPartition returns the partition of an entry that counts from the sector from.
func (d *Disk) mbrPartition(number int, e gpt.MBREntry, from int64) Partition {
	p := Partition{
		Number: number, Off: (from + int64(e.First)) * d.SectorSize, Len: int64(e.Count) * d.SectorSize,
		Type: fmt.Sprintf("0x%x", e.Type), TypeName: mbrTypes[e.Type],
	}
	if d.ID != "" {
		p.UUID = fmt.Sprintf("%s-%02x", d.ID, number)
	}
	if e.Boot == 0x80 {
		p.Flags = append(p.Flags, flagBoot)
	}
	if e.IsExtended() {
		p.Flags = append(p.Flags, flagExtended)
	}
	return p
}

// chain follows the boot sectors of an extended partition. Each one names a logical partition, counted from itself, and the
// next boot sector, counted from the first. chain returns the number after the last partition.
func (r *reader) chain(d *Disk, number int, ext gpt.MBREntry, next int) int {
	first, end := int64(ext.First), int64(ext.First)+int64(ext.Count)
	seen, empty := map[int64]bool{0: true}, 0
	for at, size := first, int64(ext.Count); ; {
		if seen[at] || at >= end || empty == maxEmptyEBRs {
			r.note("the chain of logical partitions is invalid at sector %d and was not followed further", at)
			return next
		}
		seen[at] = true
		sector := r.read(at*d.SectorSize, 512)
		if !gpt.IsBootSector(sector) {
			r.note("the chain of logical partitions ends early at sector %d", at)
			return next
		}
		empty++
		link := gpt.MBREntry{}
		for i, e := range gpt.MBREntries(sector) {
			from, to := at+int64(e.First), at+int64(e.First)+int64(e.Count)
			switch {
			case e.IsEmpty() || i >= 2 && (to-at > size || to > end): // the last two are often invalid
			case e.IsExtended():
				if link.IsEmpty() && e.First != 0 {
					link = e
				}
			default:
				if to > end {
					r.note("partition %d, at sector %d, extends past partition %d", next, from, number)
				}
				if !r.add(d, d.mbrPartition(next, e, at)) {
					return next
				}
				next, empty = next+1, 0
			}
		}
		if link.IsEmpty() {
			return next
		}
		at, size = first+int64(link.First), int64(link.Count)
	}
}
