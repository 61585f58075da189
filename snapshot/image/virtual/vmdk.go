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
	vmdkSector = 512     // bytes; the unit of VMDK
	vmdkMax    = 1 << 46 // bytes of a disk; VMware's own are at most 62 TiB
	vmdkChain  = 64      // maximum length of a chain of differencing disks; VMware's own limit is 32
)

// Signatures at the beginning of VMDK files.
const (
	vmdkMagic     = "KDMV"
	vmdkMagicCOWD = "COWD"
	// ESXi's space-efficient sparse extent: a magic and a version, 64 bits each.
	vmdkMagicSE = "\xbe\xba\xfe\xca\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"
)

// detectVMDK also recognises files that openVMDK refuses: stored as if it were raw, such a file would be a useless
// backup. After a descriptor there are at most zeros up to the next sector. A disk with a descriptor written to its
// start is a raw disk.
func detectVMDK(e edges) bool {
	begin := string(e.head[:min(16, len(e.head))])
	return strings.HasPrefix(begin, vmdkMagic) || strings.HasPrefix(begin, vmdkMagicCOWD) || begin == vmdkMagicSE ||
		e.size <= vmdkDescriptorMax && looksLikeDescriptor(e.head) && isText(e.tail) && (e.size < edgeLen || !chunk.IsZero(e.tail))
}

// A vmdkOpening is shared by the files of a disk and of its parents.
type vmdkOpening struct {
	*opening
	cache *tableCache
	depth int // number of children in the chain
}

// openVMDK opens a disk by its descriptor. That is either a text file that names the files with the data, or embedded
// in the single file with all of it.
func openVMDK(o *opening) (image.Disk, error) {
	if o.Snapshot != "" {
		return nil, fmt.Errorf("%w: a VMDK has no snapshots inside; name the file that VMware made for it", ErrUnsupported)
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

// refuseVMDK returns an error for the kinds of VMDK that this package does not read.
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

// parent opens the disk's parent, if it has one.
func (o *vmdkOpening) parent(desc *vmdkDescriptor) (none vmdkParent, err error) {
	if desc.parentCID == vmdkNoParent && desc.parentHint == "" {
		return none, nil
	}
	if !o.FollowBacking {
		return none, fmt.Errorf("%w: it is a differencing disk with the parent %q: give --follow-backing to read that too; or make one of "+
			"both with qemu-img convert", ErrUnsupported, desc.parentHint)
	}
	if desc.parentHint == "" {
		return none, fmt.Errorf("%w: it is a differencing disk and does not name its parent", ErrDamaged)
	}
	if o.depth >= vmdkChain {
		return none, fmt.Errorf("%w: a chain of more than %d differencing disks, or a loop",
			ErrUnsupported, vmdkChain)
	}
	path := desc.parentHint
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(o.path), path)
	}
	d, err := o.also(path)
	if err != nil {
		return none, fmt.Errorf("open its parent: %w", err)
	}
	below := *o.opening
	below.Disk, below.path = d, path
	parent, parentDesc, err := (&vmdkOpening{&below, o.cache, o.depth + 1}).open()
	if err != nil {
		return none, fmt.Errorf("its parent %s: %w", path, err)
	}
	if parentDesc.cid != desc.parentCID {
		return none, fmt.Errorf("%w: %s was written to after it became the parent of this disk (content id %08x, not %08x): "+
			"the two make no whole", ErrDamaged, path, parentDesc.cid, desc.parentCID)
	}
	return vmdkParent{from: originOf(parent), size: parent.size}, nil
}

// parts opens the parts that the descriptor names, in the order of the disk. If the descriptor is embedded, header is
// that of f, and the name in the descriptor is ignored: the file may have been renamed.
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
	free int64 // the first sector that no part uses
}

// extent opens one part of a disk. The descriptor may come from anyone, including a guest that wrote it to its raw
// disk. If its names could lead elsewhere, a backup would read /etc/shadow, and give it to everyone with access to a
// restored disk. So all parts must be in the descriptor's folder.
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
		return nil, fmt.Errorf("%w: two of its parts use the same bytes of %q", ErrDamaged, e.name)
	}
	if e.kind == "SPARSE" {
		f.free = math.MaxInt64
		return openVMDKExtent(f.tableFile, e, parent)
	}
	f.free = e.start + e.sectors
	if !f.holds(e.start*vmdkSector, e.sectors*vmdkSector) {
		return nil, fmt.Errorf("%w: %q has %d bytes, but the disk uses %d of them from byte %d on", ErrDamaged, e.name,
			f.Size(), e.sectors*vmdkSector, e.start*vmdkSector)
	}
	return vmdkFlat{f.data, e.start * vmdkSector}, nil
}

// vmdkParts are the parts of a disk, in order and without gaps.
type vmdkParts []vmdkPart

type vmdkPart struct {
	off, n int64 // bytes
	layout       // of this part
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

// A vmdkFlat is a part whose bytes are a file's, from offset at on.
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

// A vmdkParent is the parent disk, as seen by a part of its child.
type vmdkParent struct {
	from *origin // nil if there is none
	size int64   // of the whole parent
	off  int64   // offset of the part in the parent
}

func (v vmdkParent) at(off int64) vmdkParent { return vmdkParent{v.from, v.size, off} }

// piece returns what a part has at off if it has no bytes of its own. It may be shorter than n.
func (v vmdkParent) piece(off, n int64) piece {
	if v.from == nil || v.off+off >= v.size {
		return piece{off: off, n: n}
	}
	return piece{off, min(n, v.size-v.off-off), v.from, v.off + off}
}

func le32(p []byte) uint32 { return binary.LittleEndian.Uint32(p) }
func le64(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }
