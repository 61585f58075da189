package virtual

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/snapshot/image"
)

// vhdxFileOf is a VHDX of a disk of 5 MiB, all of it data.
func vhdxFileOf(t testing.TB) ([]byte, image.Mem) {
	d := image.Mem{Data: make([]byte, 5<<20)}
	rng := rand.New(rand.NewPCG(9, 1))
	for i := range d.Data {
		d.Data[i] = byte(rng.Uint32())
	}
	return written(t, VHDX, d), d
}

// vhdxParts are the parts of a VHDX that a writer of this package made.
type vhdxParts struct{ header, regions, metadata, table []byte }

// item returns the entry and the value of an item of the metadata.
func (p vhdxParts) item(i int) (entry, value []byte) {
	entry = p.metadata[32+32*i:][:32]
	return entry, p.metadata[binary.LittleEndian.Uint32(entry[16:]):]
}

// vhdxEdit changes a copy of a VHDX, both headers and both region tables alike, and puts its checksums right.
func vhdxEdit(file []byte, edit func(p vhdxParts)) []byte {
	f := slices.Clone(file)
	p := vhdxParts{f[vhdxHeader2:][:vhdxHeaderLen], f[vhdxRegions1:][:vhdxTableLen], f[vhdxMetadataAt:vhdxTableAt], f[vhdxTableAt:]}
	edit(p)
	binary.LittleEndian.PutUint32(p.header[4:], vhdxSum(p.header))
	binary.LittleEndian.PutUint32(p.regions[4:], vhdxSum(p.regions))
	copy(f[vhdxHeader1:], p.header)
	copy(f[vhdxRegions2:], p.regions)
	return f
}

func TestVHDXHostile(t *testing.T) {
	file, _ := vhdxFileOf(t)
	le := binary.LittleEndian
	end := uint64(len(file))
	for _, c := range []struct {
		name string
		edit func(p vhdxParts)
		want string
	}{
		{"version", func(p vhdxParts) { p.header[66] = 2 }, "VHDX version 2"},
		{"log version", func(p vhdxParts) { p.header[64] = 1 }, "log version 1"},
		{"log past the end", func(p vhdxParts) { le.PutUint64(p.header[72:], end) }, "the log is said"},
		{"log before the beginning", func(p vhdxParts) { le.PutUint64(p.header[72:], 1<<64-vhdxMiB) }, "the log is said"},
		{"log over the headers", func(p vhdxParts) { le.PutUint64(p.header[72:], 0) }, "the log is said"},
		{"log on no MiB", func(p vhdxParts) { le.PutUint64(p.header[72:], vhdxMiB+4096) }, "the log is said"},
		{"log over the metadata", func(p vhdxParts) { le.PutUint32(p.header[68:], 2*vhdxMiB) }, "lies over"},
		{"log of 4 GiB", func(p vhdxParts) { le.PutUint32(p.header[68:], 1<<32-vhdxMiB) }, "the log is said"},
		{"a log to be replayed, of no length", func(p vhdxParts) { p.header[48] = 1; le.PutUint32(p.header[68:], 0) }, "the log is said"},
		{"many regions", func(p vhdxParts) { le.PutUint32(p.regions[8:], 2048) }, "2048 regions"},
		{"no regions", func(p vhdxParts) { le.PutUint32(p.regions[8:], 0) }, "is missing"},
		{"one region", func(p vhdxParts) { le.PutUint32(p.regions[8:], 1) }, "is missing"},
		{"a region twice", func(p vhdxParts) { copy(p.regions[48:], vhdxRegionTable[:]) }, "there twice"},
		{"a region to be known", func(p vhdxParts) { le.PutUint32(p.regions[8:], 3); p.regions[80], p.regions[108] = 1, 1 }, "demands to be known"},
		{"a region over another", func(p vhdxParts) { le.PutUint64(p.regions[64:], vhdxTableAt) }, "lies over"},
		{"a region over the log", func(p vhdxParts) { le.PutUint64(p.regions[64:], vhdxLogAt) }, "lies over"},
		{"a region over the headers", func(p vhdxParts) { le.PutUint64(p.regions[64:], 0) }, "is said to be"},
		{"a region past the end", func(p vhdxParts) { le.PutUint64(p.regions[64:], 1<<62) }, "is said to be"},
		{"a region of nothing", func(p vhdxParts) { le.PutUint32(p.regions[40:], 0) }, "is said to be"},
		{"no metadata", func(p vhdxParts) { p.metadata[0] = 0 }, "no table of metadata"},
		{"many metadata", func(p vhdxParts) { le.PutUint16(p.metadata[10:], 2048) }, "one of 2048"},
		{"few metadata", func(p vhdxParts) { le.PutUint16(p.metadata[10:], 4) }, "are missing"},
		{"metadata twice", func(p vhdxParts) { e, _ := p.item(4); copy(e, vhdxItemSize[:]) }, "there twice"},
		{"metadata to be known", func(p vhdxParts) { e, _ := p.item(2); e[0]++ }, "demands to be known"},
		{"a user's metadata to be known", func(p vhdxParts) { e, _ := p.item(2); e[24] |= 1 }, "demands to be known"},
		{"metadata in their table", func(p vhdxParts) { e, _ := p.item(1); le.PutUint32(e[16:], 0) }, "of their region"},
		{"metadata past their region", func(p vhdxParts) { e, _ := p.item(1); le.PutUint32(e[16:], vhdxMiB-7) }, "of their region"},
		{"metadata too short", func(p vhdxParts) { e, _ := p.item(1); le.PutUint32(e[20:], 4) }, "not 8 bytes"},
		{"metadata without end", func(p vhdxParts) { e, _ := p.item(1); le.PutUint32(e[20:], 1<<32-1) }, "of their region"},
		{"a parent", func(p vhdxParts) { _, v := p.item(0); v[4] = 2 }, "merge the two first"},
		{"the locator of a parent", func(p vhdxParts) {
			le.PutUint16(p.metadata[10:], 6)
			e, _ := p.item(5)
			copy(e, vhdxItemParent[:])
			le.PutUint32(e[16:], vhdxTableLen)
		}, "merge the two first"},
		{"blocks of nothing", func(p vhdxParts) { _, v := p.item(0); le.PutUint32(v, 0) }, "blocks of 0"},
		{"blocks of 3 MiB", func(p vhdxParts) { _, v := p.item(0); le.PutUint32(v, 3<<20) }, "blocks of 3145728"},
		{"blocks of 512 MiB", func(p vhdxParts) { _, v := p.item(0); le.PutUint32(v, 512<<20) }, "blocks of 536870912"},
		{"blocks of 512 KiB", func(p vhdxParts) { _, v := p.item(0); le.PutUint32(v, 512<<10) }, "blocks of 524288"},
		{"sectors of nothing", func(p vhdxParts) { _, v := p.item(3); le.PutUint32(v, 0) }, "sectors of 0"},
		{"sectors of 1 KiB", func(p vhdxParts) { _, v := p.item(3); le.PutUint32(v, 1024) }, "sectors of 1024"},
		{"physical sectors of 8 KiB", func(p vhdxParts) { _, v := p.item(4); le.PutUint32(v, 8192) }, "512 and 8192"},
		{"a disk of half a sector", func(p vhdxParts) { _, v := p.item(1); v[0] = 1 }, "a disk of"},
		{"a disk of 65 TiB", func(p vhdxParts) { _, v := p.item(1); le.PutUint64(v, 65<<40) }, "a disk of"},
		{"a disk without end", func(p vhdxParts) { _, v := p.item(1); le.PutUint64(v, 1<<64-512) }, "a disk of"},
		{"a disk longer than its table", func(p vhdxParts) { _, v := p.item(1); le.PutUint64(v, 128<<30) }, "its table has"},
		{"block past the end", func(p vhdxParts) { le.PutUint64(p.table[8:], end|vhdxPresent) }, "block 1 is said"},
		{"block far past the end", func(p vhdxParts) { le.PutUint64(p.table[8:], 1<<64-vhdxMiB|vhdxPresent) }, "block 1 is said"},
		{"block over the headers", func(p vhdxParts) { le.PutUint64(p.table[8:], vhdxPresent) }, "block 1 is said"},
		{"block over the log", func(p vhdxParts) { le.PutUint64(p.table[8:], vhdxLogAt|vhdxPresent) }, "block 1 is said"},
		{"block over the table", func(p vhdxParts) { le.PutUint64(p.table[8:], vhdxTableAt|vhdxPresent) }, "block 1 is said"},
		{"block between two MiB", func(p vhdxParts) { p.table[9]++ }, "block 1 is said"},
		{"block partly there", func(p vhdxParts) { p.table[8] = vhdxPartly }, "block 1 is partly"},
		{"block in no state", func(p vhdxParts) { p.table[8] = 4 }, "block 1 has state 4"},
	} {
		refused(t, c.name, openVHDX, vhdxEdit(file, c.edit), c.want)
	}
	refused(t, "nothing", openVHDX, nil, "hold no headers")
	refused(t, "cut short", openVHDX, file[:len(file)-1], "block 4 is said")
	refused(t, "cut off in the table", openVHDX, file[:vhdxTableAt+4096], "is said to be")
	if _, err := openVHDX(&opening{Disk: image.Mem{Data: file}, Options: Options{Snapshot: "1"}}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a snapshot: %v", err)
	}
}

// TestVHDXCopies damages one of two headers and region tables, the other, and both.
func TestVHDXCopies(t *testing.T) {
	file, d := vhdxFileOf(t)
	for _, c := range []struct {
		name string
		at   []int // where bits are flipped
		want string
	}{
		{"nothing", nil, ""},
		{"first header", []int{vhdxHeader1 + 20}, ""},
		{"second header", []int{vhdxHeader2 + 4095}, ""},
		{"both headers", []int{vhdxHeader1 + 20, vhdxHeader2 + 20}, "both its headers"},
		{"first regions", []int{vhdxRegions1 + 20}, ""},
		{"second regions", []int{vhdxRegions2 + 65535}, ""},
		{"both regions", []int{vhdxRegions1 + 20, vhdxRegions2 + 20}, "both its region tables"},
	} {
		p := slices.Clone(file)
		for _, at := range c.at {
			p[at] ^= 1
		}
		if c.want != "" {
			refused(t, c.name, openVHDX, p, c.want)
			continue
		}
		got, err := openVHDX(&opening{Disk: image.Mem{Data: p}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		compare(t, got, d.Data)
	}
	same := vhdxEdit(file, func(vhdxParts) {})
	got, err := openVHDX(&opening{Disk: image.Mem{Data: same}})
	if err != nil {
		t.Fatalf("twice the same header: %v", err)
	}
	compare(t, got, d.Data)
	h := same[vhdxHeader1:][:vhdxHeaderLen]
	h[16]++
	binary.LittleEndian.PutUint32(h[4:], vhdxSum(h))
	refused(t, "headers of one number", openVHDX, same, "do not agree")
	differ := slices.Clone(file)
	r := differ[vhdxRegions1:][:vhdxTableLen]
	r[60000]++
	binary.LittleEndian.PutUint32(r[4:], vhdxSum(r))
	refused(t, "regions that differ", openVHDX, differ, "do not agree")
}

// TestVHDXStates reads blocks in all states that are zeros, the last one cut off at the end of the disk, metadata and a
// region that nobody knows and nobody must, and sectors of 4 KiB.
func TestVHDXStates(t *testing.T) {
	file, d := vhdxFileOf(t)
	want := slices.Clone(d.Data)
	clear(want[:4<<20])
	file = vhdxEdit(file, func(p vhdxParts) {
		for i, entry := range []uint64{vhdxNotPresent, 77<<20 | vhdxUndefined, vhdxZero, 1<<62 | vhdxUnmapped} {
			binary.LittleEndian.PutUint64(p.table[8*i:], entry)
		}
		binary.LittleEndian.PutUint16(p.metadata[10:], 6)
		e, _ := p.item(5)
		copy(e, "nobody knows it.")
		binary.LittleEndian.PutUint32(p.regions[8:], 3)
		putVHDXRegion(p.regions[80:], vhdxGUID{1}, vhdxRegion{vhdxTableAt + vhdxMiB, 4 * vhdxMiB})
		p.regions[108] = 0
		_, v := p.item(3)
		binary.LittleEndian.PutUint32(v, 4096)
		_, v = p.item(1)
		binary.LittleEndian.PutUint64(v, 5<<20-4096)
	})
	got, err := openVHDX(&opening{Disk: image.Mem{Data: file[:len(file)-4096]}})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, want[:5<<20-4096])
}

// TestVHDXChunks reads a disk so long that bitmaps lie between the entries of its table.
func TestVHDXChunks(t *testing.T) {
	for _, sector := range []int64{512, 4096} {
		for _, blockLen := range []int64{1 << 20, 256 << 20} {
			shape := vhdxShape{3*vhdxChunk*sector + 7*sector, blockLen, sector}
			perChunk := vhdxChunk * sector / blockLen
			file := newVHDXHead(shape, vhdxMiB)
			table := make([]byte, vhdxMiB)
			for i, block := range []int64{0, perChunk - 1, perChunk, 2*perChunk - 1, 2 * perChunk, 3 * perChunk} {
				at := vhdxTableAt + vhdxMiB + int64(i)*blockLen
				entry := block/perChunk*(perChunk+1) + block%perChunk
				binary.LittleEndian.PutUint64(table[8*entry:], uint64(at)|vhdxPresent)
			}
			for c := range int64(3) { // an entry of a bitmap, which means nothing here
				binary.LittleEndian.PutUint64(table[8*((c+1)*(perChunk+1)-1):], 1<<64-1)
			}
			disk := vhdxLong{Mem: image.Mem{Data: append(file, table...)}, block: blockLen, size: vhdxTableAt + vhdxMiB + 6*blockLen}
			d, err := openVHDX(&opening{Disk: disk})
			if err != nil {
				t.Fatal(err)
			}
			for i, block := range []int64{0, perChunk - 1, perChunk, 2*perChunk - 1, 2 * perChunk, 3 * perChunk} {
				var p [2 * 512]byte
				if _, err := d.ReadAt(p[:], block*blockLen); err != nil || p[0] != byte(i+1) || p[1023] != byte(i+1) {
					t.Errorf("sectors of %d, blocks of %d: block %d reads %d (%v), want %d", sector, blockLen, block, p[0], err, i+1)
				}
			}
		}
	}
}

// vhdxLong is a file with blocks behind it, the first all ones, the second all twos.
type vhdxLong struct {
	image.Mem
	block, size int64
}

func (d vhdxLong) Size() int64 { return d.size }

func (d vhdxLong) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, d.Data[min(off, int64(len(d.Data))):])
	for i := n; i < len(p); i++ {
		p[i] = byte((off+int64(i)-int64(len(d.Data)))/d.block + 1)
	}
	return len(p), nil
}
