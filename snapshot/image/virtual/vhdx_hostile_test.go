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

// vhdxParts are the parts of a VHDX from this package.
type vhdxParts struct{ header, regions, metadata, table []byte }

// item returns the table entry and the value of a metadata item.
func (p vhdxParts) item(i int) (entry, value []byte) {
	entry = p.metadata[32+32*i:][:32]
	return entry, p.metadata[binary.LittleEndian.Uint32(entry[16:]):]
}

// vhdxEdit changes a copy of a VHDX, in both headers and both region tables alike, and fixes its checksums.
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
		{"log past the end", func(p vhdxParts) { le.PutUint64(p.header[72:], end) }, "the log should be at"},
		{"log before the beginning", func(p vhdxParts) { le.PutUint64(p.header[72:], 1<<64-vhdxMiB) }, "the log should be at"},
		{"log over the headers", func(p vhdxParts) { le.PutUint64(p.header[72:], 0) }, "the log should be at"},
		{"log on no MiB", func(p vhdxParts) { le.PutUint64(p.header[72:], vhdxMiB+4096) }, "the log should be at"},
		{"log over the metadata", func(p vhdxParts) { le.PutUint32(p.header[68:], 2*vhdxMiB) }, "overlaps another region"},
		{"log of 4 GiB", func(p vhdxParts) { le.PutUint32(p.header[68:], 1<<32-vhdxMiB) }, "the log should be at"},
		{"a log to be replayed, of no length", func(p vhdxParts) { p.header[48] = 1; le.PutUint32(p.header[68:], 0) }, "the log should be at"},
		{"many regions", func(p vhdxParts) { le.PutUint32(p.regions[8:], 2048) }, "2048 regions"},
		{"no regions", func(p vhdxParts) { le.PutUint32(p.regions[8:], 0) }, "is missing"},
		{"one region", func(p vhdxParts) { le.PutUint32(p.regions[8:], 1) }, "is missing"},
		{"a region twice", func(p vhdxParts) { copy(p.regions[48:], vhdxRegionTable[:]) }, "in its table twice"},
		{"a region to be known", func(p vhdxParts) { le.PutUint32(p.regions[8:], 3); p.regions[80], p.regions[108] = 1, 1 }, "the file requires it"},
		{"a region over another", func(p vhdxParts) { le.PutUint64(p.regions[64:], vhdxTableAt) }, "overlaps another region"},
		{"a region over the log", func(p vhdxParts) { le.PutUint64(p.regions[64:], vhdxLogAt) }, "overlaps another region"},
		{"a region over the headers", func(p vhdxParts) { le.PutUint64(p.regions[64:], 0) }, "should be at"},
		{"a region past the end", func(p vhdxParts) { le.PutUint64(p.regions[64:], 1<<62) }, "should be at"},
		{"a region of nothing", func(p vhdxParts) { le.PutUint32(p.regions[40:], 0) }, "should be at"},
		{"no metadata", func(p vhdxParts) { p.metadata[0] = 0 }, "its metadata table is missing"},
		{"many metadata", func(p vhdxParts) { le.PutUint16(p.metadata[10:], 2048) }, "has 2048 items"},
		{"few metadata", func(p vhdxParts) { le.PutUint16(p.metadata[10:], 4) }, "is missing or not"},
		{"metadata twice", func(p vhdxParts) { e, _ := p.item(4); copy(e, vhdxItemSize[:]) }, "in its table twice"},
		{"metadata to be known", func(p vhdxParts) { e, _ := p.item(2); e[0]++ }, "the file requires it"},
		{"a user's metadata to be known", func(p vhdxParts) { e, _ := p.item(2); e[24] |= 1 }, "the file requires it"},
		{"metadata in their table", func(p vhdxParts) { e, _ := p.item(1); le.PutUint32(e[16:], 0) }, "of its region, which is invalid"},
		{"metadata past their region", func(p vhdxParts) { e, _ := p.item(1); le.PutUint32(e[16:], vhdxMiB-7) }, "of its region, which is invalid"},
		{"metadata too short", func(p vhdxParts) { e, _ := p.item(1); le.PutUint32(e[20:], 4) }, "not 8 bytes"},
		{"metadata without end", func(p vhdxParts) { e, _ := p.item(1); le.PutUint32(e[20:], 1<<32-1) }, "of its region, which is invalid"},
		{"a parent", func(p vhdxParts) { _, v := p.item(0); v[4] = 2 }, "merge it with its parent first"},
		{"the locator of a parent", func(p vhdxParts) {
			le.PutUint16(p.metadata[10:], 6)
			e, _ := p.item(5)
			copy(e, vhdxItemParent[:])
			le.PutUint32(e[16:], vhdxTableLen)
		}, "merge it with its parent first"},
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
		{"block past the end", func(p vhdxParts) { le.PutUint64(p.table[8:], end|vhdxPresent) }, "puts block 1 at"},
		{"block far past the end", func(p vhdxParts) { le.PutUint64(p.table[8:], 1<<64-vhdxMiB|vhdxPresent) }, "puts block 1 at"},
		{"block over the headers", func(p vhdxParts) { le.PutUint64(p.table[8:], vhdxPresent) }, "puts block 1 at"},
		{"block over the log", func(p vhdxParts) { le.PutUint64(p.table[8:], vhdxLogAt|vhdxPresent) }, "puts block 1 at"},
		{"block over the table", func(p vhdxParts) { le.PutUint64(p.table[8:], vhdxTableAt|vhdxPresent) }, "puts block 1 at"},
		{"block between two MiB", func(p vhdxParts) { p.table[9]++ }, "puts block 1 at"},
		{"block partly there", func(p vhdxParts) { p.table[8] = vhdxPartly }, "block 1 is partly"},
		{"block in no state", func(p vhdxParts) { p.table[8] = 4 }, "block 1 has state 4"},
	} {
		refused(t, c.name, openVHDX, vhdxEdit(file, c.edit), c.want)
	}
	refused(t, "nothing", openVHDX, nil, "too few for its headers")
	refused(t, "cut short", openVHDX, file[:len(file)-1], "puts block 4 at")
	refused(t, "cut off in the table", openVHDX, file[:vhdxTableAt+4096], "should be at")
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
		t.Fatalf("two identical headers: %v", err)
	}
	compare(t, got, d.Data)
	h := same[vhdxHeader1:][:vhdxHeaderLen]
	h[16]++
	binary.LittleEndian.PutUint32(h[4:], vhdxSum(h))
	refused(t, "headers of one number", openVHDX, same, "differ")
	differ := slices.Clone(file)
	r := differ[vhdxRegions1:][:vhdxTableLen]
	r[60000]++
	binary.LittleEndian.PutUint32(r[4:], vhdxSum(r))
	refused(t, "regions that differ", openVHDX, differ, "differ")
}

// TestVHDXStates reads blocks in all zero states, a last block that ends with the disk, unknown optional metadata and
// regions, and sectors of 4 KiB.
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
		copy(e, "an unknown item.")
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

// TestVHDXChunks reads a disk so long that bitmap entries are between the block entries of its table.
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
			for c := range int64(3) { // a bitmap entry, which has no meaning here
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
					t.Errorf("sectors of %d, blocks of %d: block %d holds %d (%v), want %d", sector, blockLen, block, p[0], err, i+1)
				}
			}
		}
	}
}

// vhdxLong is a file with more blocks at its end, the first all ones, the second all twos.
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
