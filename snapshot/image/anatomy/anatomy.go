// Package anatomy reads what a disk says of itself: its partition table, and what lies in each partition.
//
// Its promise: it always comes back. A table that is damaged, or made to do harm, and a disk that cannot be read where the
// table is, become notes; nothing it reads makes it read without end, take much memory, or look outside the disk. It reads
// some dozen KiB a partition. What it says is what the disk claims, for people and for choosing a part of a disk; nothing
// that is kept depends on it.
package anatomy

import (
	"fmt"
	"slices"

	"platter/snapshot/image"
)

// What Disk.Table says.
const (
	GPT = "gpt"
	MBR = "mbr"
)

// A Disk is what a disk says of itself. Its JSON is part of a snapshot; see docs/format.md.
type Disk struct {
	Table      string      `json:"table,omitempty"`       // GPT or MBR, empty for none
	ID         string      `json:"id,omitempty"`          // of the table: a GUID, or the 8 hex digits of an MBR
	SectorSize int64       `json:"sector_size,omitempty"` // bytes, in which the table counts
	Doubtful   bool        `json:"doubtful,omitempty"`    // nothing tells that SectorSize is right, so the partitions may lie elsewhere
	Partitions []Partition `json:"partitions,omitempty"`  // sorted by number
	Content    *Content    `json:"content,omitempty"`     // of the disk as a whole
	Container  string      `json:"container,omitempty"`   // what it is if it is no disk, such as gzip; Notes say more
	Notes      []string    `json:"notes,omitempty"`       // what is wrong or strange, for people
}

// A Partition is an entry of a partition table. It begins on the disk, but may reach beyond its end.
type Partition struct {
	Number   int      `json:"number"`              // as Linux counts: logical ones from 5 on
	Off      int64    `json:"offset"`              // bytes
	Len      int64    `json:"length"`              // bytes
	Type     string   `json:"type"`                // a GUID, or the byte of an MBR as 0x83
	TypeName string   `json:"type_name,omitempty"` // the same for people
	Name     string   `json:"name,omitempty"`      // of a GPT
	UUID     string   `json:"uuid,omitempty"`      // what Linux calls PARTUUID
	Flags    []string `json:"flags,omitempty"`     // boot, required, read-only, hidden, no-automount, extended
	Content  *Content `json:"content,omitempty"`
}

// Content is a file system, or whatever else a run of a disk holds. Names and UUIDs are those that blkid prints.
type Content struct {
	Type    string `json:"type"`
	Version string `json:"version,omitempty"`
	Label   string `json:"label,omitempty"`
	UUID    string `json:"uuid,omitempty"`
	Size    int64  `json:"size,omitempty"` // bytes, of the file system by its own account; 0 when it does not say
}

// Bounds of what is kept, whatever a disk claims.
const (
	maxPartitions = 256
	maxNotes      = 32
	maxText       = 255 // bytes of a label or a name
)

// Read looks at a disk that is addressed in sectors of so many bytes; 0 where that is not known, as of an image. A fault of
// its own is a note as well: it must not cost anybody a backup.
func Read(disk image.Disk, sector int64) (d *Disk) {
	r := newReader(disk, sector)
	defer func() {
		if p := recover(); p != nil {
			d = &Disk{Notes: []string{fmt.Sprintf("looking at the disk failed: %.200v", p)}}
		}
	}()
	return read(r)
}

// ContentAt returns what lies in n bytes of a disk from a byte on, as Read does of a partition; nil for nothing that is known,
// or that can be read. A device whose sectors are longer than unit, in bytes, cannot be read as the content needs; 0 is any.
func ContentAt(disk image.Disk, off, n int64) (c *Content, unit int64) {
	if off < 0 || n <= 0 || off >= disk.Size() {
		return nil, 0
	}
	defer func() {
		if recover() != nil {
			c, unit = nil, 0
		}
	}()
	r := newReader(disk, 0)
	f := r.probe(r.section(off, min(n, disk.Size()-off)), "it")
	if f == nil {
		return nil, 0
	}
	return f.content(), f.unit
}

func read(r *reader) *Disk {
	whole := r.section(0, r.size)
	d := r.table(whole)
	switch {
	case d.Table != "":
		r.beside(d, whole)
	case d.Content == nil:
		d.Content = r.probe(whole, "the disk").content()
	}
	var note string
	if d.Container, note = r.container(whole, d); note != "" {
		r.note("%s", note)
	}
	slices.SortStableFunc(d.Partitions, func(a, b Partition) int { return a.Number - b.Number })
	r.overlaps(d)
	d.Notes = r.notes
	return d
}

// beside looks for what a disk may hold as a whole although it has a table: the file system of an ISO image that boots from
// a stick, and a RAID whose mark is at the end, outside all partitions.
func (r *reader) beside(d *Disk, whole *section) {
	for _, probe := range []prober{md, iso9660} {
		f := probe(whole)
		if f == nil {
			continue
		}
		within := func(p Partition) bool { return f.at >= p.Off && f.at < p.Off+p.Len }
		if f.Type == typeMD && slices.ContainsFunc(d.Partitions, within) {
			continue
		}
		d.Content = f.content()
		return
	}
}

// overlaps notes partitions that lie over one another. The extended one holds the logical ones.
func (r *reader) overlaps(d *Disk) {
	var sorted []Partition
	for _, p := range d.Partitions {
		if !p.IsExtended() {
			sorted = append(sorted, p)
		}
	}
	slices.SortStableFunc(sorted, func(a, b Partition) int {
		if a.Off < b.Off {
			return -1
		}
		if a.Off > b.Off {
			return 1
		}
		return 0
	})
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a.Len > b.Off-a.Off {
			r.note("partitions %d and %d lie over one another", a.Number, b.Number)
		}
	}
}

// IsExtended reports whether the partition is the one of an MBR that holds the logical ones.
func (p Partition) IsExtended() bool { return slices.Contains(p.Flags, flagExtended) }

// Part returns the partition of a number, nil when there is none.
func (d *Disk) Part(number int) *Partition {
	for i := range d.Partitions {
		if d.Partitions[i].Number == number {
			return &d.Partitions[i]
		}
	}
	return nil
}

// add takes a partition of the table in, and looks into it. It reports whether there is room for more.
func (r *reader) add(d *Disk, p Partition) bool {
	switch {
	case len(d.Partitions) == maxPartitions:
		r.note("there are more than %d partitions; the others are not listed", maxPartitions)
		return false
	case p.Off < 0 || p.Len <= 0 || p.Off >= r.size:
		r.note("partition %d lies outside the disk, and is not listed", p.Number)
		return true
	case p.Len > r.size-p.Off:
		r.note("partition %d reaches beyond the end of the disk", p.Number)
	}
	if !p.IsExtended() {
		who := fmt.Sprintf("partition %d", p.Number)
		p.Content = r.probe(r.section(p.Off, min(p.Len, r.size-p.Off)), who).content()
		if p.Content != nil && p.Content.Size > p.Len {
			r.note("%s is %d bytes long, its %s %d", who, p.Len, p.Content.Type, p.Content.Size)
		}
	}
	d.Partitions = append(d.Partitions, p)
	return true
}
