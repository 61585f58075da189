package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"platter/snapshot/image"
)

// TestVHDXCrashed reads files in testdata/vhdx that a killed qemu-io 7.2 left. Each disk has 64 MiB in blocks of 1
// MiB. The writes were 64 KiB of 0x11 at 0, 3 MiB of 0x22 at 5 MiB and 100 KiB of 0x33 at 33 MiB.
//
// It was killed at five moments: when the header named a log that was still empty; when the first entry was half
// written; and when the first, the second and the last block were in the log but not yet in the table.
func TestVHDXCrashed(t *testing.T) {
	for _, c := range []struct {
		name   string
		blocks int // number of blocks written
	}{{"named", 0}, {"torn", 0}, {"first", 1}, {"second", 2}, {"fifth", 5}} {
		t.Run(c.name, func(t *testing.T) {
			packed, err := os.Open("testdata/vhdx/log-" + c.name + ".zst")
			if err != nil {
				t.Fatal(err)
			}
			defer packed.Close()
			r, err := zstd.NewReader(packed)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			file, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, 64<<20)
			for i, w := range []struct {
				at, n int
				fill  byte
			}{{0, 64 << 10, 0x11}, {5 << 20, 1 << 20, 0x22}, {6 << 20, 1 << 20, 0x22}, {7 << 20, 1 << 20, 0x22}, {33 << 20, 100 << 10, 0x33}} {
				if i < c.blocks {
					copy(want[w.at:], bytes.Repeat([]byte{w.fill}, w.n))
				}
			}
			compareReplayed(t, file, want)
			replayedByQemu(t, file, want)
		})
	}
}

func compareReplayed(t *testing.T, file, want []byte) {
	t.Helper()
	d, err := openVHDX(&opening{Disk: image.Mem{Data: file}})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, d, want)
}

// replayedByQemu has qemu-img replay a file's log, and compares the disk.
func replayedByQemu(t *testing.T, file, want []byte) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "disk"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, dir, "check", "-q", "-r", "all", "-f", "vhdx", "disk")
	qemuImg(t, dir, "convert", "-f", "vhdx", "-O", "raw", "disk", "raw")
	if raw, err := os.ReadFile(filepath.Join(dir, "raw")); err != nil || !bytes.Equal(raw, want) {
		t.Errorf("qemu-img reads another disk (%v)", err)
	}
}

// A logEntry describes a log entry to make.
type logEntry struct {
	at     int // in the log
	tail   uint32
	number uint64
	before uint64
	after  uint64
	writes []logWrite
}

// A logWrite is a sector of data, or a run of zeros.
type logWrite struct {
	at    uint64 // in the file
	data  []byte
	zeros uint64
}

// put writes the entry to a ring.
func (e logEntry) put(ring []byte, guid vhdxGUID) {
	head, data := make([]byte, (64+32*len(e.writes)+4095)/4096*4096), []byte(nil)
	copy(head, "loge")
	binary.LittleEndian.PutUint32(head[12:], e.tail)
	binary.LittleEndian.PutUint64(head[16:], e.number)
	binary.LittleEndian.PutUint32(head[24:], uint32(len(e.writes)))
	copy(head[32:], guid[:])
	binary.LittleEndian.PutUint64(head[48:], e.before)
	binary.LittleEndian.PutUint64(head[56:], e.after)
	for i, w := range e.writes {
		d := head[64+32*i:]
		binary.LittleEndian.PutUint64(d[16:], w.at)
		binary.LittleEndian.PutUint64(d[24:], e.number)
		if w.data == nil {
			copy(d, "zero")
			binary.LittleEndian.PutUint64(d[8:], w.zeros)
			continue
		}
		copy(d, "desc")
		copy(d[4:8], w.data[4092:])
		copy(d[8:16], w.data[:8])
		sector := slices.Clone(w.data)
		copy(sector, "data")
		binary.LittleEndian.PutUint32(sector[4:], uint32(e.number>>32))
		binary.LittleEndian.PutUint32(sector[4092:], uint32(e.number))
		data = append(data, sector...)
	}
	p := append(head, data...)
	binary.LittleEndian.PutUint32(p[8:], uint32(len(p)))
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(p, vhdxCRC))
	n := copy(ring[e.at:], p)
	copy(ring, p[n:])
}

// logged returns a file with a log of entries.
func logged(file []byte, entries ...logEntry) []byte {
	file = slices.Clone(file)
	guid := vhdxGUID{1, 2, 3}
	for _, e := range entries {
		e.put(file[vhdxLogAt:vhdxMetadataAt], guid)
	}
	for _, at := range []int{vhdxHeader1, vhdxHeader2} {
		h := file[at:][:vhdxHeaderLen]
		copy(h[48:], guid[:])
		binary.LittleEndian.PutUint32(h[4:], vhdxSum(h))
	}
	return file
}

// TestVHDXReplay makes logs of all shapes over a disk of four blocks, and compares with qemu-img.
func TestVHDXReplay(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	d := image.Mem{Data: make([]byte, 4<<20)}
	for i := range d.Data {
		d.Data[i] = byte(rng.Uint32()) | 1
	}
	file := written(t, VHDX, d)
	n := uint64(len(file))
	// table makes the sector of the table with these blocks in place of the disk's.
	table := func(blocks ...int) logWrite {
		p := make([]byte, 4096)
		for i, b := range blocks {
			if b >= 0 {
				binary.LittleEndian.PutUint64(p[8*i:], uint64(vhdxTableAt+vhdxMiB+b*vhdxMiB)|vhdxPresent)
			}
		}
		return logWrite{at: vhdxTableAt, data: p}
	}
	disk := func(blocks ...int) []byte {
		var p []byte
		for _, b := range blocks {
			block := make([]byte, vhdxMiB)
			if b >= 0 && b < 4 {
				copy(block, d.Data[b*vhdxMiB:])
			}
			p = append(p, block...)
		}
		return p
	}
	one := func(at, tail int, number uint64, w ...logWrite) logEntry {
		return logEntry{at, uint32(tail), number, n, n, w}
	}
	torn := logged(file, one(0, 0, 1, table(3, 2, 1, 0)), one(8192, 0, 2, table(-1, -1, -1, -1)))
	torn[vhdxLogAt+8192+5000] ^= 1
	zeroed := disk(0, 1, 2, 3)
	clear(zeroed[vhdxMiB+4096 : 2*vhdxMiB-8192])
	copy(zeroed[vhdxMiB+8192:], bytes.Repeat([]byte{7}, 4096))
	seven := logWrite{at: vhdxTableAt + 2*vhdxMiB + 8192, data: bytes.Repeat([]byte{7}, 4096)}
	reversed := disk(3, 2, 1, 0)
	copy(reversed[2*vhdxMiB+8192:], seven.data)
	for _, c := range []struct {
		name string
		file []byte
		want []byte
	}{
		{"no entry", logged(file), disk(0, 1, 2, 3)},
		{"one", logged(file, one(0, 0, 1, table(3, 2, 1, 0))), disk(3, 2, 1, 0)},
		{"in the midst", logged(file, one(65536, 65536, 1<<40, table(3, 2, 1, 0))), disk(3, 2, 1, 0)},
		{"two", logged(file, one(0, 0, 1, table(3, 2, 1, 0)), one(8192, 0, 2, table(0, 2, -1, 1))), disk(0, 2, -1, 1)},
		{"over the end", logged(file, one(1<<20-4096, 1<<20-4096, 1, table(3, 2, 1, 0))), disk(3, 2, 1, 0)},
		{"an older sequence", logged(file, one(0, 0, 9, table(3, 2, 1, 0)), one(65536, 65536, 5, table(-1, -1, -1, -1))), disk(3, 2, 1, 0)},
		{"an older sequence before", logged(file, one(0, 0, 5, table(-1, -1, -1, -1)), one(65536, 65536, 9, table(3, 2, 1, 0))), disk(3, 2, 1, 0)},
		{"the last is torn", torn, disk(3, 2, 1, 0)},
		{"zeros, and data over them", logged(file, one(0, 0, 1, logWrite{at: vhdxTableAt + 2*vhdxMiB + 4096, zeros: vhdxMiB - 12288}, seven)), zeroed},
		{"data, and zeros over them", logged(file, one(0, 0, 1, table(3, 2, 1, 0), logWrite{at: vhdxTableAt, zeros: 8192})), disk(-1, -1, -1, -1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			compareReplayed(t, c.file, c.want)
			replayedByQemu(t, c.file, c.want)
		})
	}
	// Here qemu-img 7.2 deviates from the specification: it also replays entries before the tail, accepts a sequence
	// without its tail, and does not extend a file.
	for _, c := range []struct {
		name string
		file []byte
		want []byte
	}{
		{"the tail is the last", logged(file, one(0, 0, 1, table(3, 2, 1, 0)), one(8192, 8192, 2)), disk(0, 1, 2, 3)},
		{"going on at the beginning", logged(file, one(1<<20-8192, 1<<20-8192, 1, table(3, 2, 1, 0)), one(0, 1<<20-8192, 2, seven)), reversed},
		{"a longer file", logged(file, logEntry{0, 0, 1, n, n + vhdxMiB, []logWrite{table(3, 4, 1, 0)}}), disk(3, 4, 1, 0)},
	} {
		t.Run(c.name, func(t *testing.T) { compareReplayed(t, c.file, c.want) })
	}
}

// TestVHDXHostileLog checks that a fault in a log is reported, and quickly.
func TestVHDXHostileLog(t *testing.T) {
	file := written(t, VHDX, image.Mem{Data: bytes.Repeat([]byte{1}, 1<<20)})
	n := uint64(len(file))
	many := logEntry{0, 0, 1, n, n, nil}
	for i := range vhdxZerosMax + 1 {
		many.writes = append(many.writes, logWrite{at: vhdxTableAt + uint64(i)%8*4096, zeros: 4096})
	}
	overlaid := logged(file)
	for at := vhdxLogAt; at < vhdxMetadataAt; at += vhdxLogSector {
		copy(overlaid[at:], "loge")
		binary.LittleEndian.PutUint32(overlaid[at+8:], 1<<20)
		binary.LittleEndian.PutUint64(overlaid[at+16:], 1)
		overlaid[at+32], overlaid[at+33], overlaid[at+34] = 1, 2, 3
	}
	torn := logged(file, logEntry{0, 0, 1, n, n, nil}, logEntry{4096, 0, 2, n, n, nil})
	torn[vhdxLogAt+100] ^= 1
	torn[vhdxLogAt+4196] ^= 1
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"cut short", logged(file, logEntry{0, 0, 1, n + vhdxMiB, n, nil}), "was truncated"},
		{"too long", logged(file, logEntry{0, 0, 1, n, 1 << 63, nil}), "log is for a file"},
		{"nothing whole", torn, "has no valid entry"},
		{"a tail that is none", logged(file, logEntry{0, 4096, 1, n, n, nil}, logEntry{4096, 8192, 2, n, n, nil}), "has no valid entry"},
		{"over each other", overlaid, "entries of its log overlap"},
		{"many zeros", logged(file, many), "runs of zeros"},
	} {
		_, err := openVHDX(&opening{Disk: image.Mem{Data: c.file}})
		if err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
