package virtual

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"platter/snapshot/image"
)

// qemuSize returns the length in bytes that qemu-img gives the disk in a file.
func qemuSize(t testing.TB, dir, file, format string) int64 {
	t.Helper()
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(qemuImg(t, dir, "info", "--output=json", "-f", format, file)), &info); err != nil {
		t.Fatal(err)
	}
	return info.Size
}

// filledUp returns data padded with zeros to n bytes.
func filledUp(data []byte, n int64) []byte {
	return append(slices.Clip(data), make([]byte, max(0, n-int64(len(data))))...)
}

// converted writes a disk to a raw file, has qemu-img convert it, and returns the path of the result.
func converted(t testing.TB, d image.Mem, format, options string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"convert", "-f", "raw", "-O", format}
	if options != "" {
		args = append(args, "-o", options)
	}
	qemuImg(t, dir, append(args, writeRaw(t, dir, d), "disk")...)
	return filepath.Join(dir, "disk")
}

// TestVHDRead reads images from qemu-img. Without force_size, qemu-img rounds most lengths up to a geometry.
func TestVHDRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for _, size := range []int{1, 1000, 34816, 1 << 20, 2<<20 + 512, 5<<20 + 7, 17 << 20} {
		for _, options := range []string{"subformat=dynamic", "subformat=fixed"} {
			for _, force := range []string{"on", "off"} {
				t.Run(fmt.Sprintf("%d %s %s", size, options, force), func(t *testing.T) {
					d := randomDisk(rng, size)
					path := converted(t, d, "vpc", options+",force_size="+force)
					want := qemuSize(t, filepath.Dir(path), path, "vpc")
					if whole := int64(size+511) / 512 * 512; force == "on" && want != whole {
						t.Fatalf("qemu-img made a disk of %d bytes, want %d", want, whole)
					}
					compare(t, mustOpen(t, path, VHD, Options{}), filledUp(d.Data, want))
				})
			}
		}
	}
}

// TestVHDLarge opens disks with the largest geometry.
func TestVHDLarge(t *testing.T) {
	for _, size := range []int64{127 << 30, 128 << 30, vhdMaxLen - 512, vhdMaxLen} {
		for _, options := range []string{"subformat=dynamic", "subformat=fixed"} {
			for _, force := range []string{"on", "off"} {
				t.Run(fmt.Sprintf("%d %s %s", size, options, force), func(t *testing.T) {
					dir := t.TempDir()
					qemuImg(t, dir, "create", "-f", "vpc", "-o", options+",force_size="+force, "disk", fmt.Sprint(size))
					d := mustOpen(t, filepath.Join(dir, "disk"), VHD, Options{})
					if want := qemuSize(t, dir, "disk", "vpc"); d.Size() != want || want < size {
						t.Errorf("%d bytes, qemu-img says %d and was asked for %d", d.Size(), want, size)
					}
					if data := d.Size() - zeroBytes(t, d); data > 16<<10 { // qemu-img writes the edges of a fixed one
						t.Errorf("an empty disk of %d bytes has %d bytes of data", d.Size(), data)
					}
				})
			}
		}
	}
}

// TestVHDWrite writes disks, which qemu-img must read with the same content and length.
func TestVHDWrite(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 2))
	for _, size := range []int{0, 1, 512, 1000, 2<<20 - 1, 2 << 20, 2<<20 + 1, 5<<20 + 7, 33<<20 + 512} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir, d := t.TempDir(), randomDisk(rng, size)
			raw, path := writeRaw(t, dir, d), writeAs(t, dir, VHD, d, CreateOptions{})
			whole := int64(size+511) / 512 * 512
			compare(t, mustOpen(t, path, VHD, Options{}), filledUp(d.Data, whole))
			if got := qemuSize(t, dir, path, "vpc"); got != whole {
				t.Errorf("qemu-img says %d bytes, want %d", got, whole)
			}
			qemuImg(t, dir, "compare", "-f", "raw", "-F", "vpc", raw, path)
		})
	}
}

// onlyWriter is a stream.
type onlyWriter struct{ io.Writer }

// TestVHDStream checks that a stream gets the same bytes as a file, and that the extents decide which blocks are
// stored.
func TestVHDStream(t *testing.T) {
	d := randomDisk(rand.New(rand.NewPCG(5, 3)), 9<<20+100)
	clear(d.Data[2<<20 : 4<<20]) // a block of zeros that the extents call data
	for _, name := range []string{VHD, VHDX} {
		path := filepath.Join(t.TempDir(), "disk")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := Create(onlyWriter{f}, name, d.Size(), CreateOptions{})
		if err == nil {
			err = errors.Join(feed(w, d), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		got := mustOpen(t, path, name, Options{})
		if !slices.Equal(got.image(t)[:d.Size()], d.Data) {
			t.Errorf("%s: the content differs", name)
		}
		w, err = Create(io.Discard, name, d.Size(), CreateOptions{Extents: image.Sparse{Bytes: d.Size()}.Extents})
		if err == nil {
			err = feed(w, d)
		}
		if err == nil || !strings.Contains(err.Error(), "the disk's extents have none") {
			t.Errorf("%s: data where the extents have none: %v", name, err)
		}
	}
}

// image returns all bytes of a disk.
func (d *Disk) image(t testing.TB) []byte {
	t.Helper()
	p := make([]byte, d.Size())
	if _, err := d.ReadAt(p, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return p
}

// TestVHDGeometry checks that a disk whose length is a geometry gets the geometry that qemu-img gives it.
func TestVHDGeometry(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int64{1, 1 << 20, 100 << 20, 504 << 20, 505 << 20, 1 << 30, 8 << 30, 30 << 30, 65535 * 16 * 63 * 512, 65535*16*63*512 + 512, 60 << 30, 127 << 30, 200 << 30, vhdMaxLen} {
		qemuImg(t, dir, "create", "-f", "vpc", "-o", "force_size=off", "disk", fmt.Sprint(size))
		f, err := os.Open(filepath.Join(dir, "disk"))
		if err != nil {
			t.Fatal(err)
		}
		var p [vhdFooterLen]byte
		_, err = f.ReadAt(p[:], 0)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		want, err := parseVHDFooter(p[:])
		if err != nil {
			t.Fatal(err)
		}
		c, h, s := vhdGeometry(int64(want.size) / vhdSector)
		if c != want.cylinders || h != want.heads || s != want.sectors {
			t.Errorf("geometry of %d bytes: %d %d %d, qemu-img has %d %d %d", want.size, c, h, s, want.cylinders, want.heads, want.sectors)
		}
	}
}

func TestVHDTooLong(t *testing.T) {
	for name, size := range map[string]int64{VHD: vhdMaxLen + 1, VHDX: vhdxMaxLen + 1} {
		if _, err := Create(io.Discard, name, size, CreateOptions{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s of %d bytes: %v", name, size, err)
		}
	}
}

// TestVHDSize checks which of its two sizes a disk has.
func TestVHDSize(t *testing.T) {
	for _, c := range []struct {
		creator         string
		size            uint64
		cyl             uint16
		heads, perTrack uint8
		want            int64
	}{
		{"vpc ", 1 << 20, 10, 4, 17, 10 * 4 * 17 * 512},
		{"qemu", 1 << 20, 10, 4, 17, 10 * 4 * 17 * 512},
		{"qem2", 1 << 20, 10, 4, 17, 1 << 20},
		{"win ", 1 << 20, 10, 4, 17, 1 << 20},
		{"d2v\x00", 1 << 20, 10, 4, 17, 1 << 20},
		{"tap\x00", 1 << 20, 10, 4, 17, 1 << 20},
		{"wa\x00\x00", 1 << 20, 10, 4, 17, 1 << 20},
		{"CTXS", 1 << 20, 10, 4, 17, 1 << 20},
		{"vbox", 1 << 20, 10, 4, 17, 1 << 20},
		{"qemu", 200 << 30, 65535, 16, 255, 200 << 30},
		{"vpc ", 1 << 20, 0, 4, 17, 1 << 20},
		{"win ", vhdMaxLen, 0, 0, 0, vhdMaxLen},
		{"win ", vhdMaxLen + 1, 0, 0, 0, -1},
		{"win ", 1<<64 - 1, 0, 0, 0, -1},
	} {
		got, err := vhdFooter{creator: c.creator, size: c.size, cylinders: c.cyl, heads: c.heads, sectors: c.perTrack}.disk()
		if err != nil {
			got = -1
		}
		if got != c.want {
			t.Errorf("%q, %d bytes, %d/%d/%d: %d (%v), want %d", c.creator, c.size, c.cyl, c.heads, c.perTrack, got, err, c.want)
		}
	}
}

// TestVHDBitmap clears bits: their sectors read as zeros, whatever the file holds there.
func TestVHDBitmap(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 4))
	d := image.Mem{Data: make([]byte, 6<<20+512*5)}
	for i := range d.Data {
		d.Data[i] = byte(rng.Uint32()) | 1
	}
	file := written(t, VHD, d)
	table := vhdFooterLen + vhdHeaderLen
	for block := range 4 {
		at := int(binary.BigEndian.Uint32(file[table+4*block:])) * vhdSector
		for range []int{0, 1, 50, 400}[block] {
			from := rng.IntN(4096)
			for s := from; s < min(4096, from+1+rng.IntN(100)); s++ {
				file[at+s/8] &^= 0x80 >> (s % 8)
				if off := block*vhdBlock + s*vhdSector; off < len(d.Data) {
					clear(d.Data[off : off+vhdSector])
				}
			}
		}
	}
	disk, err := openVHD(&opening{Disk: image.Mem{Data: file}})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, disk, d.Data)
}

// written returns the file that Create makes of a disk.
func written(t testing.TB, name string, d image.Mem) []byte {
	t.Helper()
	p, err := os.ReadFile(writeAs(t, t.TempDir(), name, d, CreateOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
