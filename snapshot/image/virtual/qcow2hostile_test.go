package virtual

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"platter/snapshot/image"
)

// A qcowFile is a handmade image, in clusters of 512 bytes unless bits says otherwise. The header, the L1 table, an
// L2 table and a cluster of sevens have a cluster each.
type qcowFile struct {
	size            uint64 // of the disk
	bits            uint32 // of a cluster
	version         uint32 // 3 if it is 0
	incompatible    uint64
	l1, l2          []uint64 // entries; nil for a disk that begins with the sevens
	backing, format string
	extensions      []byte
	cut             int // bytes removed from the end
}

func (f qcowFile) bytes() []byte {
	if f.bits == 0 {
		f.bits = 9
	}
	if f.version == 0 {
		f.version = 3
	}
	cluster := 1 << f.bits
	if f.l1 == nil {
		f.l1 = []uint64{uint64(2*cluster) | qcowOwn}
	}
	if f.l2 == nil && f.backing == "" {
		f.l2 = []uint64{uint64(3*cluster) | qcowOwn}
	}
	b := make([]byte, 4*cluster)
	copy(b, qcow2Magic)
	be := binary.BigEndian
	be.PutUint32(b[4:], f.version)
	be.PutUint32(b[20:], f.bits)
	be.PutUint64(b[24:], f.size)
	be.PutUint32(b[36:], uint32(max(len(f.l1), cluster/8)))
	be.PutUint64(b[40:], uint64(cluster))
	header := qcowV2Len
	if f.version > 2 {
		header = qcowV3Len
		be.PutUint64(b[72:], f.incompatible)
		be.PutUint32(b[96:], 4)
		be.PutUint32(b[100:], qcowV3Len)
	}
	if f.format != "" {
		f.extensions = append(be.AppendUint32(be.AppendUint32(f.extensions, qcowBackingFormat), uint32(len(f.format))), f.format...)
		f.extensions = append(f.extensions, make([]byte, -len(f.extensions)&7)...)
	}
	copy(b[header:], f.extensions)
	if f.backing != "" {
		be.PutUint64(b[8:], uint64(cluster-len(f.backing)))
		be.PutUint32(b[16:], uint32(len(f.backing)))
		copy(b[cluster-len(f.backing):], f.backing)
	}
	for i, e := range f.l1 {
		be.PutUint64(b[cluster+8*i:], e)
	}
	for i, e := range f.l2 {
		be.PutUint64(b[2*cluster+8*i:], e)
	}
	for i := range cluster {
		b[3*cluster+i] = 7
	}
	return b[:len(b)-f.cut]
}

func writeQcow(t testing.TB, path string, f qcowFile) {
	t.Helper()
	if err := os.WriteFile(path, f.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// openMem opens a qcow2 in memory that refers to no other file.
func openMem(data []byte, o Options) (d image.Disk, notes []string, err error) {
	d, err = openQcow2(&opening{
		Disk: image.Mem{Data: data}, Options: o, path: "disk.qcow2", detect: Detect,
		also: func(string) (image.Disk, error) { return nil, os.ErrPermission },
		note: func(text string) { notes = append(notes, text) },
	})
	return d, notes, err
}

// put returns a change of an image: it writes a number of 4 or 8 bytes.
func put32(off int, v uint32) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint32(b[off:], v); return b }
}

func put64(off int, v uint64) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint64(b[off:], v); return b }
}

// TestQcow2HostileHeaders checks that each false header field is refused, with an error that names it.
func TestQcow2HostileHeaders(t *testing.T) {
	feature := make([]byte, 8+2*qcowFeatureLen)
	put32(0, qcowFeatureNames)(feature)
	put32(4, 2*qcowFeatureLen)(feature)
	feature[8+1], feature[8+qcowFeatureLen], feature[8+qcowFeatureLen+1] = 5, 1, 6
	copy(feature[10:], "holograms")
	tests := []struct {
		name   string
		file   qcowFile
		change func([]byte) []byte
		is     error
		want   string
	}{
		{"empty", qcowFile{}, func(b []byte) []byte { return nil }, ErrDamaged, "begin"},
		{"cut in the header", qcowFile{}, func(b []byte) []byte { return b[:70] }, ErrDamaged, "truncated"},
		{"cut in version 3", qcowFile{}, func(b []byte) []byte { return b[:100] }, ErrDamaged, "truncated"},
		{"version 1", qcowFile{version: 1}, nil, ErrUnsupported, "qemu-img convert"},
		{"version 4", qcowFile{version: 4}, nil, ErrUnsupported, "version 4"},
		{"tiny clusters", qcowFile{}, put32(20, 8), ErrDamaged, "2^8"},
		{"huge clusters", qcowFile{}, put32(20, 22), ErrDamaged, "2^22"},
		{"negative size", qcowFile{size: 1 << 63}, nil, ErrDamaged, "9223372036854775808"},
		{"size past L1", qcowFile{size: 1 << 30}, nil, ErrDamaged, "L1 table has 64 entries"},
		{"size past all L1", qcowFile{size: 1 << 62}, nil, ErrUnsupported, "4611686018427387904"},
		{"no L1", qcowFile{size: 512}, put64(40, 0), ErrDamaged, "L1"},
		{"L1 between clusters", qcowFile{size: 512}, put64(40, 520), ErrDamaged, "byte 520"},
		{"L1 past the end", qcowFile{size: 512}, put64(40, 4096), ErrDamaged, "byte 4096"},
		{"L1 far past the end", qcowFile{size: 512}, put64(40, 1<<63-512), ErrDamaged, "L1"},
		{"negative L1", qcowFile{size: 512}, put64(40, 1<<63), ErrDamaged, "tables"},
		{"AES", qcowFile{}, put32(32, 1), ErrUnsupported, "AES"},
		{"LUKS", qcowFile{}, put32(32, 2), ErrUnsupported, "LUKS"},
		{"unknown encryption", qcowFile{}, put32(32, 3), ErrUnsupported, "encrypted"},
		{"unknown feature", qcowFile{incompatible: 1<<5 | 1<<6 | 1<<63, extensions: feature}, nil, ErrUnsupported, `bit 5 ("holograms"), bit 6, bit 63;`},
		{"data file", qcowFile{incompatible: qcowDataFile}, nil, ErrUnsupported, "another file"},
		{"raw data file", qcowFile{incompatible: qcowDataFile}, put64(88, 2), ErrUnsupported, "name that file instead"},
		{"compression said, none given", qcowFile{incompatible: qcowCompressed}, nil, ErrDamaged, "compression 0"},
		{"compression not said", qcowFile{}, func(b []byte) []byte { b[104] = 1; return put32(100, 112)(b) }, ErrDamaged, "compression 1"},
		{"unknown compression", qcowFile{incompatible: qcowCompressed}, func(b []byte) []byte { b[104] = 2; return put32(100, 112)(b) }, ErrUnsupported, "compression 2"},
		{"small subclusters", qcowFile{incompatible: qcowExtended}, nil, ErrDamaged, "subclusters"},
		{"short header", qcowFile{}, put32(100, 96), ErrDamaged, "96"},
		{"long header", qcowFile{}, put32(100, 520), ErrDamaged, "520"},
		{"endless header", qcowFile{}, put32(100, 1<<32-8), ErrDamaged, "4294967288"},
		{"long extension", qcowFile{extensions: []byte{1, 2, 3, 4, 0, 0, 1, 200}}, nil, ErrDamaged, "0x1020304"},
		{"endless extension", qcowFile{extensions: []byte{1, 2, 3, 4, 255, 255, 255, 255}}, nil, ErrDamaged, "0x1020304"},
		{"backing past the cluster", qcowFile{backing: "x"}, put64(8, 513), ErrDamaged, "513"},
		{"backing across the end", qcowFile{backing: "x"}, put32(16, 2), ErrDamaged, "2 bytes long"},
		{"backing without a name", qcowFile{backing: "x"}, put32(16, 0), ErrDamaged, "backing"},
		{"backing with a long name", qcowFile{backing: "x", bits: 12}, func(b []byte) []byte { return put32(16, 1024)(put64(8, 200)(b)) }, ErrDamaged, "1024"},
		{"backing far away", qcowFile{backing: "x"}, put64(8, 1<<64-1), ErrDamaged, "backing"},
	}
	for _, tt := range tests {
		data := tt.file.bytes()
		if tt.change != nil {
			data = tt.change(data)
		}
		_, _, err := openMem(data, Options{FollowBacking: true})
		if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %v that says %s", tt.name, err, tt.is, tt.want)
		}
	}
}

// TestQcow2HostileTables checks that each invalid table entry is an error of reads and extents, and that unusual
// valid ones are not.
func TestQcow2HostileTables(t *testing.T) {
	const packed, subclusters = qcowPackedBit, qcowExtended
	big := func(l2 ...uint64) qcowFile { return qcowFile{bits: 14, size: 16384, incompatible: subclusters, l2: l2} }
	tests := []struct {
		name string
		file qcowFile
		want string // empty if it is readable
	}{
		{"as it should be", qcowFile{size: 512}, ""},
		{"L1 not its own", qcowFile{size: 512, l1: []uint64{1024}}, ""},
		{"L1 reserved bits", qcowFile{size: 512, l1: []uint64{1024 | 1}}, "L1 entry 0"},
		{"L1 reserved high bits", qcowFile{size: 512, l1: []uint64{1024 | 1<<56}}, "L1 entry 0"},
		{"L2 past the end", qcowFile{size: 512, l1: []uint64{2048}}, "L1 entry 0"},
		{"L2 cut off", qcowFile{size: 512, l1: []uint64{1536}, cut: 1}, "L1 entry 0"},
		{"L2 between clusters", qcowFile{bits: 12, size: 512, l1: []uint64{4608}}, "L1 entry 0"},
		{"cluster past the end", qcowFile{size: 512, l2: []uint64{2048}}, "0x800"},
		{"cluster far past the end", qcowFile{size: 512, l2: []uint64{qcowOffset}}, "0xfffffffffffe00"},
		{"cluster cut off", qcowFile{size: 512, cut: 100}, ""},
		{"cluster between clusters", qcowFile{bits: 12, size: 512, l2: []uint64{4608}}, "0x1200"},
		{"reserved bits", qcowFile{size: 512, l2: []uint64{1536 | 2}}, "0x602"},
		{"reserved high bits", qcowFile{size: 512, l2: []uint64{1536 | 1<<60}}, "0x1000000000000600"},
		{"zero", qcowFile{size: 512, l2: []uint64{1}}, ""},
		{"zero with a place", qcowFile{size: 512, l2: []uint64{1536 | 1}}, ""},
		{"zero in version 2", qcowFile{version: 2, size: 512, l2: []uint64{1}}, "0x1"},
		{"compressed nothing", qcowFile{size: 512, l2: []uint64{packed}}, "0x4000000000000000"},
		{"compressed noise", qcowFile{size: 512, l2: []uint64{packed | 1536}}, "compressed cluster at byte 1536"},
		{"compressed past the end", qcowFile{size: 512, l2: []uint64{packed | 2048}}, "0x4000000000000800"},
		{"compressed too far out", qcowFile{size: 512, l2: []uint64{packed | 1<<57}}, "0x4200000000000000"},
		{"subclusters", big(3<<14, 0xf0_0000000f), ""},
		{"no subclusters", big(0, 0), ""},
		{"subclusters that are both", big(3<<14, 1<<32|1), "0x100000001"},
		{"subclusters of nothing", big(0, 1), "0x0, 0x1"},
		{"zero beside subclusters", big(1, 0), "0x1, 0x0"},
		{"compressed subclusters", big(packed|3<<14, 1), "0x1"},
	}
	for _, tt := range tests {
		d, _, err := openMem(tt.file.bytes(), Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		_, readErr := d.ReadAt(make([]byte, d.Size()), 0)
		var extentsErr error
		for _, err := range d.Extents() {
			extentsErr = errors.Join(extentsErr, err)
		}
		if strings.Contains(tt.want, "compressed cluster") {
			extentsErr = readErr // extents do not decode clusters
		}
		for _, err := range []error{readErr, extentsErr} {
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, want an error that says %q", tt.name, err, tt.want)
			}
		}
	}
}

// TestQcow2Bombs checks that small files with huge tables do not take long.
func TestQcow2Bombs(t *testing.T) {
	again := make([]uint64, 1<<18)
	for i := range again {
		again[i] = 2 << 21
	}
	data := make([]uint64, 1<<18)
	for i := range data {
		data[i] = 3 << 21
	}
	empty := make([]uint64, 1<<18)
	for name, tt := range map[string]struct {
		file qcowFile
		fail bool
	}{
		"one L2 table for all":      {qcowFile{bits: 21, size: 1 << 57, l1: again, l2: empty}, true},
		"one cluster for all":       {qcowFile{bits: 21, size: 1 << 39, l2: data}, true},
		"nothing":                   {qcowFile{bits: 21, size: 1 << 57, l1: empty}, false},
		"nothing in a lot of table": {qcowFile{bits: 21, size: 1 << 39, l2: empty}, false},
	} {
		start, n := time.Now(), 0
		d, _, err := openMem(tt.file.bytes(), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, extentErr := range d.Extents() {
			n, err = n+1, errors.Join(err, extentErr)
		}
		if (err != nil) != tt.fail || n > 2 || time.Since(start) > time.Minute {
			t.Errorf("%s: %d extents in %v: %v", name, n, time.Since(start), err)
		}
	}
}

// TestQcow2Marked checks the notes about images with marks from their writer.
func TestQcow2Marked(t *testing.T) {
	for mark, notes := range map[uint64]int{qcowDirty: 0, qcowCorrupt: 1} {
		d, got, err := openMem(qcowFile{size: 512, incompatible: mark}.bytes(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if compare(t, d, []byte(strings.Repeat("\x07", 512))); len(got) != notes {
			t.Errorf("mark %d: %q, want %d notes", mark, got, notes)
		}
	}
}
