package virtual

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/snapshot/image"
)

// refused checks that opening a file, or reading its disk, fails with an error of this package that says what is
// wrong.
func refused(t *testing.T, name string, open func(*opening) (image.Disk, error), file []byte, want string) {
	t.Helper()
	d, err := open(&opening{Disk: image.Mem{Data: file}})
	if err == nil {
		_, readErr := d.ReadAt(make([]byte, d.Size()), 0)
		for _, e := range d.Extents() {
			err = errors.Join(err, e)
		}
		if (readErr == nil) != (err == nil) {
			t.Errorf("%s: reading returns %v, but extents return %v", name, readErr, err)
		}
	}
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
}

// vhdFile is a dynamic VHD of 5 MiB, all of it data.
func vhdFile(t testing.TB) ([]byte, image.Mem) {
	d := image.Mem{Data: make([]byte, 5<<20)}
	rng := rand.New(rand.NewPCG(8, 1))
	for i := range d.Data {
		d.Data[i] = byte(rng.Uint32())
	}
	return written(t, VHD, d), d
}

// vhdEdit changes a copy of a dynamic VHD and fixes its checksums.
func vhdEdit(file []byte, edit func(footer, header, table []byte)) []byte {
	p := slices.Clone(file)
	footer, header := p[:vhdFooterLen], p[vhdFooterLen:][:vhdHeaderLen]
	edit(footer, header, p[vhdFooterLen+vhdHeaderLen:])
	binary.BigEndian.PutUint32(footer[64:], vhdSum(footer, 64))
	binary.BigEndian.PutUint32(header[36:], vhdSum(header, 36))
	copy(p[len(p)-vhdFooterLen:], footer)
	return p
}

func TestVHDHostile(t *testing.T) {
	file, _ := vhdFile(t)
	be := binary.BigEndian
	for _, c := range []struct {
		name string
		edit func(footer, header, table []byte)
		want string
	}{
		{"version", func(f, _, _ []byte) { f[13] = 2 }, "VHD version 2.0"},
		{"type", func(f, _, _ []byte) { f[63] = 6 }, "type 6"},
		{"differencing", func(f, _, _ []byte) { f[63] = vhdDifferencing }, "merge it with its parent first"},
		{"too large", func(f, _, _ []byte) { be.PutUint64(f[48:], 1<<62) }, "2040 GiB"},
		{"larger than its table", func(f, _, _ []byte) { be.PutUint64(f[48:], 7<<20) }, "its table has 3 entries"},
		{"header in the footer", func(f, _, _ []byte) { be.PutUint64(f[16:], 0) }, "its footer puts its header"},
		{"header past the end", func(f, _, _ []byte) { be.PutUint64(f[16:], 1<<63+512) }, "its footer puts its header"},
		{"header on no sector", func(f, _, _ []byte) { be.PutUint64(f[16:], 513) }, "its footer puts its header"},
		{"no header there", func(f, _, _ []byte) { be.PutUint64(f[16:], 1024) }, "checksum of its header"},
		{"header version", func(_, h, _ []byte) { h[25] = 2 }, "header version 2.0"},
		{"blocks of nothing", func(_, h, _ []byte) { be.PutUint32(h[32:], 0) }, "blocks of 0 bytes"},
		{"blocks of 3 sectors", func(_, h, _ []byte) { be.PutUint32(h[32:], 1536) }, "blocks of 1536 bytes"},
		{"blocks of 2 GiB", func(_, h, _ []byte) { be.PutUint32(h[32:], 1<<31) }, "blocks of 2147483648 bytes"},
		{"many blocks", func(f, h, _ []byte) {
			be.PutUint64(f[48:], vhdMaxLen)
			be.PutUint32(h[32:], 512)
			be.PutUint32(h[28:], 1<<32-1)
		}, "blocks of 512 bytes"},
		{"a short table", func(_, h, _ []byte) { be.PutUint32(h[28:], 2) }, "its table has 2 entries"},
		{"table past the end", func(_, h, _ []byte) { be.PutUint64(h[16:], 1<<63) }, "its header puts its table"},
		{"table at the end", func(_, h, _ []byte) { be.PutUint64(h[16:], uint64(len(file)/512*512)) }, "its header puts its table"},
		{"table in the footer", func(_, h, _ []byte) { be.PutUint64(h[16:], 0) }, "its header puts its table"},
		{"table on no sector", func(_, h, _ []byte) { be.PutUint64(h[16:], 1537) }, "its header puts its table"},
		{"table in the header", func(_, h, _ []byte) { be.PutUint64(h[16:], 1024) }, "overlaps its header"},
		{"block past the end", func(_, _, b []byte) { be.PutUint32(b[4:], 1<<32-2) }, "puts block 1 at"},
		{"block cut short", func(_, _, b []byte) { be.PutUint32(b[4:], uint32(len(file)/512-1)) }, "puts block 1 at"},
		{"block over the last footer", func(_, _, b []byte) { be.PutUint32(b[8:], uint32((len(file)-1<<20-512)/512)) }, "puts block 2 at"},
		{"block in the footer", func(_, _, b []byte) { be.PutUint32(b[4:], 0) }, "puts block 1 at"},
		{"block over the header", func(_, _, b []byte) { be.PutUint32(b[4:], 2) }, "puts block 1 at"},
		{"block over the table", func(_, _, b []byte) { be.PutUint32(b[4:], 3) }, "puts block 1 at"},
	} {
		refused(t, c.name, openVHD, vhdEdit(file, c.edit), c.want)
	}
	refused(t, "nothing", openVHD, nil, "hold no footer")
	refused(t, "a sector", openVHD, file[:512], "its footer puts its header")
	refused(t, "cut short", openVHD, file[:len(file)-vhdBlock], "puts block 2 at")
	if _, err := openVHD(&opening{Disk: image.Mem{Data: file}, Options: Options{Snapshot: "1"}}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a snapshot: %v", err)
	}
}

// TestVHDFooters damages one footer, the other, and both.
func TestVHDFooters(t *testing.T) {
	file, d := vhdFile(t)
	first, last := func(p []byte) { p[100] ^= 1 }, func(p []byte) { p[len(p)-100] ^= 1 }
	for name, damage := range map[string]func([]byte){
		"none": func([]byte) {}, "first": first, "last": last,
		"first missing": func(p []byte) { clear(p[:512]) }, "last missing": func(p []byte) { clear(p[len(p)-512:]) },
	} {
		p := slices.Clone(file)
		damage(p)
		if found, err := Detect(image.Mem{Data: p}); found != VHD || err != nil {
			t.Errorf("%s: it is detected as %q (%v)", name, found, err)
		}
		got, err := openVHD(&opening{Disk: image.Mem{Data: p}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		compare(t, got, d.Data)
	}
	both := slices.Clone(file)
	first(both)
	last(both)
	refused(t, "both", openVHD, both, "checksum")
	if found, _ := Detect(image.Mem{Data: both}); found != VHD {
		t.Errorf("both damaged: it is detected as %q", found)
	}
	differ := vhdEdit(file, func(footer, _, _ []byte) { binary.BigEndian.PutUint64(footer[48:], 4<<20) })
	copy(differ, file[:512])
	refused(t, "two that differ", openVHD, differ, "differ")
}

// TestVHDFixed distinguishes fixed disks from raw ones with a similar end.
func TestVHDFixed(t *testing.T) {
	footer := func(size uint64, edit ...func([]byte)) []byte {
		p := newVHDFooter(int64(size/512), time.Time{})
		binary.BigEndian.PutUint64(p[48:], size)
		binary.BigEndian.PutUint64(p[16:], vhdNoOffset)
		p[63] = vhdFixed
		for _, e := range edit {
			e(p)
		}
		binary.BigEndian.PutUint32(p[64:], vhdSum(p, 64))
		return p
	}
	disk := randomDisk(rand.New(rand.NewPCG(8, 2)), 1<<20).Data
	dynamic, _ := vhdFile(t)
	inside := append(slices.Clone(dynamic), footer(uint64(len(dynamic)))...)
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"fixed", append(slices.Clone(disk), footer(1<<20)...), VHD},
		{"not on a sector", append(slices.Clone(disk[:1000]), footer(1000)...), VHD},
		{"filled up to a sector", append(filledUp(disk[:1000], 1024), footer(1000)...), VHD},
		{"the guest keeps a dynamic one", inside, VHD},
		{"the disk is shorter", append(slices.Clone(disk), footer(1<<20-512)...), Raw},
		{"the disk is longer", append(slices.Clone(disk), footer(1<<20+512)...), Raw},
		{"the disk is endless", append(slices.Clone(disk), footer(1<<64-512)...), Raw},
		{"another sum", append(slices.Clone(disk), append(footer(1 << 20)[:68], make([]byte, 444)...)...), Raw},
		{"not at the end", append(append(slices.Clone(disk), footer(1<<20)...), 0), Raw},
		{"a fixed one's footer at the beginning", append(footer(1<<20), disk...), Raw},
		{"short", footer(0)[:511], Raw},
		{"nothing", nil, Raw},
	} {
		if found, err := Detect(image.Mem{Data: c.file}); found != c.want || err != nil {
			t.Errorf("%s: it is detected as %q (%v), want %q", c.name, found, err, c.want)
		}
		d, err := openVHD(&opening{Disk: image.Mem{Data: c.file}})
		if c.want == Raw {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: opened as VHD: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		compare(t, d, c.file[:d.Size()])
	}
	short := append(slices.Clone(disk), footer(1<<20, func(p []byte) { // Virtual PC: less than the file has
		copy(p[28:], "vpc ")
		p[56], p[57], p[58], p[59] = 0, 30, 4, 17
	})...)
	d, err := openVHD(&opening{Disk: image.Mem{Data: short}})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, d, disk[:30*4*17*512])
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, short, 0o600); err != nil {
		t.Fatal(err)
	}
	if want := qemuSize(t, "", path, "vpc"); want != d.Size() {
		t.Errorf("qemu-img says %d bytes, want %d", want, d.Size())
	}
}
