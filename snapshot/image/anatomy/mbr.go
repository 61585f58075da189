package anatomy

import (
	"fmt"

	"platter/snapshot/image/gpt"
)

// An mbrEntry is one of the four entries of a boot sector, an MBR's or one of the chain of an extended partition.
//
//	 0      1         4      5         8       12
//	+------+---------+------+---------+-------+--------+
//	| boot | first   | type | last    | first | count  |
//	| u8   | CHS     | u8   | CHS     | u32   | u32    |
//	+------+---------+------+---------+-------+--------+
type mbrEntry struct {
	boot, kind   byte
	first, count uint32 // sectors
}

const (
	mbrEntries   = 446 // where they are in a boot sector, in bytes
	kindGPT      = 0xee
	maxEmptyEBRs = 100 // sectors of a chain without a partition, as for Linux
)

func (e mbrEntry) isEmpty() bool    { return e.count == 0 } // whatever its type: so it is for Linux
func (e mbrEntry) isExtended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

func isBootSector(p []byte) bool { return len(p) >= 512 && p[510] == 0x55 && p[511] == 0xaa }

// entriesOf returns the entries of a boot sector.
func entriesOf(sector []byte) (entries [4]mbrEntry) {
	for i := range entries {
		e := sector[mbrEntries+16*i:]
		entries[i] = mbrEntry{e[0], e[4], le.Uint32(e[8:]), le.Uint32(e[12:])}
	}
	return entries
}

// An mbr is a boot sector that has a partition table.
type mbr struct {
	entries    [4]mbrEntry
	id         uint32
	protective bool // it has an entry that stands for a GPT
}

// findMBR returns the table in the first sector of a disk, nil for none. A file system that begins with the disk has code
// there that can look like one.
func (r *reader) findMBR(sector []byte, whole *section) *mbr {
	if !isBootSector(sector) {
		return nil
	}
	m := &mbr{entries: entriesOf(sector), id: le.Uint32(sector[440:])}
	if m.protective = gpt.IsProtective(sector); m.protective {
		return m
	}
	used := false
	for _, e := range m.entries {
		if e.boot != 0 && e.boot != 0x80 {
			return nil
		}
		used = used || !e.isEmpty()
	}
	if !used {
		return nil // a boot loader's sector has room for a table, too
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
			r.note("there is an unused GPT of an earlier life of the disk: the MBR has no entry for it, so no system looks at it")
		}
		r.mbrPartitions(d, m)
	case m != nil && g != nil:
		if m.isHybrid() {
			r.note("it has a hybrid MBR, which names partitions besides the GPT; this is the GPT")
		}
		r.gptPartitions(d, g)
	case m != nil:
		d.Table = GPT
		if !seen {
			r.note("the MBR says that there is a GPT, and there is none")
		}
	case seen:
		r.orphan(d, g, whole, before)
	}
	return d
}

// orphan takes in a GPT without an MBR: the first sector was lost, or somebody has put a file system over an older table,
// whose backup at the end of the disk is always left.
func (r *reader) orphan(d *Disk, g *gpt.Table, whole *section, before int) {
	notes := r.notes[before:]
	r.notes = r.notes[:before:before]
	if d.Content = r.probe(whole, "the disk").content(); d.Content != nil {
		r.note("it had a GPT once, of which something is left")
		return
	}
	r.notes = append(r.notes, notes...)
	if r.note("no system uses the GPT as it is: the protective MBR before it is missing or damaged"); g != nil {
		r.gptPartitions(d, g)
	}
}

// isHybrid reports whether a protective MBR has entries of its own.
func (m *mbr) isHybrid() bool {
	for _, e := range m.entries {
		if !e.isEmpty() && e.kind != kindGPT && e.kind != 0 {
			return true
		}
	}
	return false
}

// mbrIn takes the partitions in, counting in sectors of a length in bytes.
func (r *reader) mbrIn(d *Disk, m *mbr, sector int64) {
	d.Table, d.SectorSize = MBR, sector
	if m.id != 0 {
		d.ID = fmt.Sprintf("%08x", m.id)
	}
	next := 5 // Linux counts logical partitions from here on
	for i, e := range m.entries {
		if !e.isEmpty() {
			r.add(d, d.mbrPartition(i+1, e, 0))
		}
	}
	for i, e := range m.entries {
		if !e.isEmpty() && e.isExtended() {
			next = r.chain(d, i+1, e, next)
		}
	}
}

// mbrPartition makes a partition of an entry that counts from a sector on.
func (d *Disk) mbrPartition(number int, e mbrEntry, from int64) Partition {
	p := Partition{Number: number, Off: (from + int64(e.first)) * d.SectorSize, Len: int64(e.count) * d.SectorSize,
		Type: fmt.Sprintf("0x%x", e.kind), TypeName: mbrTypes[e.kind]}
	if d.ID != "" {
		p.UUID = fmt.Sprintf("%s-%02x", d.ID, number)
	}
	if e.boot == 0x80 {
		p.Flags = append(p.Flags, flagBoot)
	}
	if e.isExtended() {
		p.Flags = append(p.Flags, flagExtended)
	}
	return p
}

// chain follows the boot sectors of an extended partition, each of which names a logical partition, counted from itself, and
// the next one, counted from the first. It returns the number after the last partition.
func (r *reader) chain(d *Disk, number int, ext mbrEntry, next int) int {
	first, end := int64(ext.first), int64(ext.first)+int64(ext.count)
	seen, empty := map[int64]bool{0: true}, 0
	for at, size := first, int64(ext.count); ; {
		if seen[at] || at >= end || empty == maxEmptyEBRs {
			r.note("the chain of logical partitions goes wrong at sector %d, and was followed no further", at)
			return next
		}
		seen[at] = true
		sector := r.read(at*d.SectorSize, 512)
		if !isBootSector(sector) {
			r.note("the chain of logical partitions breaks off at sector %d", at)
			return next
		}
		empty++
		link := mbrEntry{}
		for i, e := range entriesOf(sector) {
			from, to := at+int64(e.first), at+int64(e.first)+int64(e.count)
			switch {
			case e.isEmpty() || i >= 2 && (to-at > size || to > end): // the last two often hold rubbish
			case e.isExtended():
				if link.isEmpty() && e.first != 0 {
					link = e
				}
			default:
				if to > end {
					r.note("partition %d, at sector %d, reaches out of partition %d", next, from, number)
				}
				if !r.add(d, d.mbrPartition(next, e, at)) {
					return next
				}
				next, empty = next+1, 0
			}
		}
		if link.isEmpty() {
			return next
		}
		at, size = first+int64(link.first), int64(link.count)
	}
}
