// Package anatomy describes a disk: its partition table, and the content of each partition.
//
// Its promise: it always returns. A damaged or hostile table, and a disk that is unreadable where its table is, become
// notes. Nothing on the disk makes the package read without end, use much memory, or read outside the disk. It reads
// several dozen KiB a partition. Its result is what the disk claims, for display and for selecting a part of a disk. No
// stored data depends on it.
package anatomy

import (
	"fmt"
	"slices"

	"platter/snapshot/image"
)

// The values of Disk.Table.
const (
	GPT = "gpt"
	MBR = "mbr"
)

// A Disk describes a disk. Its JSON is part of a snapshot; see docs/format.md.
type Disk struct {
	Table      string      `json:"table,omitempty"`       // GPT or MBR; empty if there is none
	ID         string      `json:"id,omitempty"`          // of the table: a GUID, or the 8 hex digits of an MBR
	SectorSize int64       `json:"sector_size,omitempty"` // bytes; the unit in which the table counts
	Doubtful   bool        `json:"doubtful,omitempty"`    // SectorSize is a guess, so the partitions may be elsewhere
	Partitions []Partition `json:"partitions,omitempty"`  // sorted by number
	Content    *Content    `json:"content,omitempty"`     // of the disk as a whole
	Container  string      `json:"container,omitempty"`   // what it is if it is not a disk, such as gzip; Notes explain it
	Notes      []string    `json:"notes,omitempty"`       // what is wrong or unusual, for display
}

// A Partition is an entry of a partition table. It begins on the disk, but may extend past its end.
type Partition struct {
	Number   int      `json:"number"`              // as Linux counts: logical partitions from 5 on
	Off      int64    `json:"offset"`              // bytes
	Len      int64    `json:"length"`              // bytes
	Type     string   `json:"type"`                // a GUID, or the type byte of an MBR, such as 0x83
	TypeName string   `json:"type_name,omitempty"` // the same for display
	Name     string   `json:"name,omitempty"`      // of a GPT
	UUID     string   `json:"uuid,omitempty"`      // what Linux calls PARTUUID
	Flags    []string `json:"flags,omitempty"`     // boot, required, read-only, hidden, no-automount, extended
	Content  *Content `json:"content,omitempty"`
}

// Content is a file system or other content of a partition or disk. Names and UUIDs are the same as blkid prints.
type Content struct {
	Type    string `json:"type"`
	Version string `json:"version,omitempty"`
	Label   string `json:"label,omitempty"`
	UUID    string `json:"uuid,omitempty"`
	Size    int64  `json:"size,omitempty"` // bytes of the file system according to itself; 0 if it does not say
}

// Limits of what a Disk holds, whatever the disk claims.
const (
	maxPartitions = 256
	maxNotes      = 32
	maxText       = 255 // bytes of a label or a name
)

// Read describes a disk whose sectors are so many bytes long; 0 means unknown, as for an image. A panic in this
// package becomes a note too, because it must not make a backup fail.
func Read(disk image.Disk, sector int64) (d *Disk) {
	r := newReader(disk, sector)
	defer func() {
		if p := recover(); p != nil {
			d = &Disk{Notes: []string{fmt.Sprintf("looking at the disk failed: %.200v", p)}}
		}
	}()
	return read(r)
}

// ContentAt returns the content of n bytes of a disk from offset off, as Read does for a partition. It returns nil if
// it recognises nothing or cannot read the content. unit is the longest sector, in bytes, of a device on which the
// content is usable; 0 means any.
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

// beside looks for content of the whole disk beside a partition table: the file system of an ISO image that boots
// from a stick, and a RAID whose superblock is at the disk's end, outside all partitions.
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

// overlaps notes partitions that overlap. It ignores the extended partition, because it contains the logical ones.
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
			r.note("partitions %d and %d overlap", a.Number, b.Number)
		}
	}
}

// IsExtended reports whether the partition is the MBR's extended one, which holds the logical ones.
func (p Partition) IsExtended() bool { return slices.Contains(p.Flags, flagExtended) }

// Part returns the partition with a number, or nil if there is none.
func (d *Disk) Part(number int) *Partition {
	for i := range d.Partitions {
		if d.Partitions[i].Number == number {
			return &d.Partitions[i]
		}
	}
	return nil
}

// add adds a partition of the table and examines its content. It reports whether there is room for more.
func (r *reader) add(d *Disk, p Partition) bool {
	switch {
	case len(d.Partitions) == maxPartitions:
		r.note("there are more than %d partitions; only these are listed", maxPartitions)
		return false
	case p.Off < 0 || p.Len <= 0 || p.Off >= r.size:
		r.note("partition %d is outside the disk and is not listed", p.Number)
		return true
	case p.Len > r.size-p.Off:
		r.note("partition %d extends past the end of the disk", p.Number)
	}
	if !p.IsExtended() {
		who := fmt.Sprintf("partition %d", p.Number)
		p.Content = r.probe(r.section(p.Off, min(p.Len, r.size-p.Off)), who).content()
		if p.Content != nil && p.Content.Size > p.Len {
			r.note("%[1]s is %[2]d bytes long, but its %[3]s has %[4]d bytes", who, p.Len, p.Content.Type, p.Content.Size)
		}
	}
	d.Partitions = append(d.Partitions, p)
	return true
}
