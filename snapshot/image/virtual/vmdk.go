package virtual

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"path/filepath"
	"sort"
	"strings"

	"platter/chunk"
	"platter/snapshot/image"
)

const (
	vmdkSector = 512     // bytes; VMDK counts in them
	vmdkMax    = 1 << 46 // bytes of a disk; VMware's own are at most 62 TiB
	vmdkChain  = 64      // disks that are differences to each other; VMware's own limit is 32
)

// What a file of VMDK begins with.
const (
	vmdkMagic     = "KDMV"
	vmdkMagicCOWD = "COWD"
	// ESXi's space-efficient sparse extent: a magic and a version, 64 bits each.
	vmdkMagicSE = "\xbe\xba\xfe\xca\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"
)

// detectVMDK also knows what openVMDK refuses: such a file kept as if it were raw would be a backup of nothing. Behind a
// descriptor there are zeros up to the next sector at most; a disk with one written to its start is a raw disk.
func detectVMDK(e edges) bool {
	begin := string(e.head[:min(16, len(e.head))])
	return strings.HasPrefix(begin, vmdkMagic) || strings.HasPrefix(begin, vmdkMagicCOWD) || begin == vmdkMagicSE ||
		e.size <= vmdkDescriptorMax && looksLikeDescriptor(e.head) && isText(e.tail) && (e.size < edgeLen || !chunk.IsZero(e.tail))
}

// vmdkOpening is what the files of one disk, and of those that it is a difference to, have in common.
type vmdkOpening struct {
	*opening
	cache *tableCache
	depth int // of differences
}

// openVMDK opens a disk by its descriptor, which is either a text file that names the files with the data, or is embedded
// in the one file that has all of it.
func openVMDK(o *opening) (image.Disk, error) {
	if o.Snapshot != "" {
		return nil, fmt.Errorf("%w: a VMDK has no snapshots inside; give the file that VMware made for it", ErrUnsupported)
	}
	d, _, err := (&vmdkOpening{o, newTableCache(), 0}).open()
	return d, err
}

func (o *vmdkOpening) open() (*mapped, *vmdkDescriptor, error) {
	f := o.cache.file(o.Disk)
	magic, err := f.bytes(0, min(f.Size(), int64(len(vmdkMagicSE))))
	if err != nil {
		return nil, nil, err
	}
	if err := refuseVMDK(magic); err != nil {
		return nil, nil, err
	}
	var text []byte
	var header *vmdkHeader
	if strings.HasPrefix(string(magic), vmdkMagic) {
		header, text, err = vmdkSparseFile(f)
	} else {
		text, err = vmdkDescriptorFile(f)
	}
	if err != nil {
		return nil, nil, err
	}
	desc, err := parseVMDKDescriptor(text)
	if err != nil {
		return nil, nil, err
	}
	parent, err := o.parent(desc)
	if err != nil {
		return nil, nil, err
	}
	parts, err := o.parts(desc, header, f, parent)
	if err != nil {
		return nil, nil, err
	}
	last := parts[len(parts)-1]
	return &mapped{layout: parts, size: last.off + last.n}, desc, nil
}

// refuseVMDK tells the kinds of file that are VMDK, too, and that this package does not read.
func refuseVMDK(magic []byte) error {
	switch {
	case strings.HasPrefix(string(magic), vmdkMagicCOWD):
		return fmt.Errorf("%w: a sparse VMDK of ESX (COWD); convert it first: vmkfstools -i, or qemu-img convert", ErrUnsupported)
	case string(magic) == vmdkMagicSE:
		return fmt.Errorf("%w: a space-efficient sparse VMDK of ESXi (seSparse); convert it first: vmkfstools -i, or "+
			"qemu-img convert", ErrUnsupported)
	}
	return nil
}

// parent opens the disk that this one is a difference to, if it is one.
func (o *vmdkOpening) parent(desc *vmdkDescriptor) (none vmdkParent, err error) {
	if desc.parentCID == vmdkNoParent && desc.parentHint == "" {
		return none, nil
	}
	if !o.FollowBacking {
		return none, fmt.Errorf("%w: it is a difference to another disk, %q: --follow-backing reads that, too; or make one of "+
			"both with qemu-img convert", ErrUnsupported, desc.parentHint)
	}
	if desc.parentHint == "" {
		return none, fmt.Errorf("%w: it is a difference to another disk and does not say which", ErrDamaged)
	}
	if o.depth >= vmdkChain {
		return none, fmt.Errorf("%w: more than %d disks that are differences to each other, or a circle of them",
			ErrUnsupported, vmdkChain)
	}
	path := desc.parentHint
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(o.path), path)
	}
	d, err := o.also(path)
	if err != nil {
		return none, fmt.Errorf("open the disk that it is a difference to: %w", err)
	}
	below := *o.opening
	below.Disk, below.path = d, path
	parent, parentDesc, err := (&vmdkOpening{&below, o.cache, o.depth + 1}).open()
	if err != nil {
		return none, fmt.Errorf("%s, which it is a difference to: %w", path, err)
	}
	if parentDesc.cid != desc.parentCID {
		return none, fmt.Errorf("%w: %s was written to since it became the base of this disk (content id %08x, not %08x): "+
			"the two make no whole", ErrDamaged, path, parentDesc.cid, desc.parentCID)
	}
	return vmdkParent{from: originOf(parent), size: parent.size}, nil
}

// parts opens what the descriptor names, in the order of the disk. With an embedded descriptor, header is that of f, and
// the name in it counts for nothing: the file may have been renamed.
func (o *vmdkOpening) parts(desc *vmdkDescriptor, header *vmdkHeader, f *tableFile, parent vmdkParent) (vmdkParts, error) {
	if header != nil && (len(desc.extents) != 1 || desc.extents[0].kind != "SPARSE") {
		return nil, fmt.Errorf("%w: its descriptor names other data than its own", ErrUnsupported)
	}
	var parts vmdkParts
	files := map[string]*vmdkFile{}
	at := int64(0)
	for _, e := range desc.extents {
		n := e.sectors * vmdkSector
		part := vmdkPart{off: at, n: n}
		var err error
		if header != nil {
			part.layout, err = newVMDKSparse(f, header, n, parent.at(at))
		} else {
			part.layout, err = o.extent(e, files, parent.at(at))
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		at += n
	}
	return parts, nil
}

// A vmdkFile is a file that a descriptor names.
type vmdkFile struct {
	*tableFile
	free int64 // the first sector that no part has taken
}

// extent opens one part of a disk. The descriptor may come from anyone, a guest that wrote one to the start of its raw disk
// included; with names that led elsewhere, a backup would take in /etc/shadow, and hand it to whoever restores the disk. So
// all parts have to lie beside the descriptor.
func (o *vmdkOpening) extent(e vmdkExtent, files map[string]*vmdkFile, parent vmdkParent) (layout, error) {
	if e.kind == "ZERO" {
		return vmdkZero{}, nil
	}
	f := files[e.name]
	if f == nil {
		d, err := o.beside(e.name)
		if err != nil {
			return nil, err
		}
		f = &vmdkFile{o.cache.file(d), 0}
		files[e.name] = f
	}
	if e.start < f.free {
		return nil, fmt.Errorf("%w: two parts of it are the same bytes of %q", ErrDamaged, e.name)
	}
	if e.kind == "SPARSE" {
		f.free = math.MaxInt64
		return openVMDKExtent(f.tableFile, e, parent)
	}
	f.free = e.start + e.sectors
	if !f.holds(e.start*vmdkSector, e.sectors*vmdkSector) {
		return nil, fmt.Errorf("%w: %q has %d bytes, and of it %d are part of the disk, from byte %d on", ErrDamaged, e.name,
			f.Size(), e.sectors*vmdkSector, e.start*vmdkSector)
	}
	return vmdkFlat{f.data, e.start * vmdkSector}, nil
}

// vmdkParts are the parts of a disk, in order and without gaps.
type vmdkParts []vmdkPart

type vmdkPart struct {
	off, n int64 // bytes
	layout       // of the part alone
}

func (v vmdkParts) pieces(off, end int64) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		first := sort.Search(len(v), func(i int) bool { return v[i].off+v[i].n > off })
		for _, part := range v[first:] {
			if part.off >= end {
				return
			}
			for pc, err := range part.pieces(max(off, part.off)-part.off, min(end, part.off+part.n)-part.off) {
				pc.off += part.off
				if !yield(pc, err) || err != nil {
					return
				}
			}
		}
	}
}

// vmdkFlat is a part whose bytes are those of a file from at on.
type vmdkFlat struct {
	from *origin
	at   int64
}

func (v vmdkFlat) pieces(off, end int64) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) { yield(piece{off, end - off, v.from, v.at + off}, nil) }
}

// vmdkZero is a part that is all zeros.
type vmdkZero struct{}

func (vmdkZero) pieces(off, end int64) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) { yield(piece{off: off, n: end - off}, nil) }
}

// vmdkParent is the disk below, as a part of the disk above sees it.
type vmdkParent struct {
	from *origin // nil for none
	size int64   // of the whole disk below
	off  int64   // where the part begins in it
}

func (v vmdkParent) at(off int64) vmdkParent { return vmdkParent{v.from, v.size, off} }

// piece is what a part has at off where it has nothing of its own; it may be shorter than n.
func (v vmdkParent) piece(off, n int64) piece {
	if v.from == nil || v.off+off >= v.size {
		return piece{off: off, n: n}
	}
	return piece{off, min(n, v.size-v.off-off), v.from, v.off + off}
}

func le32(p []byte) uint32 { return binary.LittleEndian.Uint32(p) }
func le64(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }
