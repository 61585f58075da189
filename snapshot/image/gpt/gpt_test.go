package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

const mib = 1 << 20

// made returns a disk of size bytes with partitions that sgdisk makes by args, in sectors of 512 bytes.
func made(t testing.TB, size int64, args ...string) []byte {
	t.Helper()
	path := oracle.Blank(t, size)
	oracle.Run(t, "sgdisk", append(args, path)...)
	disk, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// on4K returns the same table for sectors of 4096 bytes, on a disk of eight times the size.
func on4K(t *testing.T, disk []byte) []byte {
	t.Helper()
	big := make([]byte, 8*len(disk))
	last := int64(len(disk)/512 - 1)
	table, err := Read(bytes.NewReader(disk), int64(len(disk)), 0)
	if err != nil {
		t.Fatal(err)
	}
	copy(big, disk[:512])
	copy(big[4096:], disk[512:1024])
	copy(big[2*4096:], table.entries)
	copy(big[last*4096:], disk[last*512:])
	copy(big[(last-32)*4096:], table.entries)
	return big
}

func apply(disk []byte, writes []Write) {
	for _, w := range writes {
		copy(disk[w.Off:], w.Data)
	}
}

// resized returns the disk truncated or padded with zeros.
func resized(disk []byte, size int64) []byte {
	out := make([]byte, size)
	copy(out, disk)
	return out
}

// onFile writes a disk to a file, and returns its path.
func onFile(t *testing.T, disk []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sound fails unless sgdisk finds nothing wrong with a disk of 512-byte sectors.
func sound(t *testing.T, disk []byte) {
	t.Helper()
	if out := oracle.Run(t, "sgdisk", "-v", onFile(t, disk)); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk says\n%s", out)
	}
}

// TestMoved moves tables to larger and smaller disks. sgdisk must find nothing wrong with them.
func TestMoved(t *testing.T) {
	three := []string{"-n1:2048:+4M", "-n2:0:+8M", "-n5:0:+2M"}
	for name, c := range map[string]struct {
		args []string
		size int64
		last int
	}{
		"usual":        {three, 64 * mib, 5},
		"odd size":     {three, 64*mib + 512*7, 5},
		"no entries":   {[]string{"-o"}, 4 * mib, 0},
		"256 entries":  {append([]string{"-S256"}, three...), 64 * mib, 5},
		"out of order": {[]string{"-n1:40960:+4M", "-n2:2048:+4M"}, 64 * mib, 1},
	} {
		t.Run(name, func(t *testing.T) {
			disk := made(t, c.size, c.args...)
			table, err := Read(bytes.NewReader(disk), c.size, 0)
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := table.Last(); ok != (c.last > 0) || p.Number != c.last {
				t.Errorf("the last partition is %+v, want %d", p, c.last)
			}
			if !table.IsAtEnd(c.size) || table.IsAtEnd(c.size+512) {
				t.Error("IsAtEnd is false for the original disk")
			}
			for _, size := range []int64{table.Smallest(), table.Smallest() + 512, c.size - 512, c.size, c.size + 512, 2 * c.size} {
				second, first, err := table.Moved(size)
				if err != nil {
					t.Fatal(err)
				}
				moved := resized(disk, size)
				apply(moved, second)
				apply(moved, first)
				sound(t, moved)
				again, err := Read(bytes.NewReader(moved), size, 0)
				if err != nil || !again.IsAtEnd(size) || !bytes.Equal(again.entries, table.entries) {
					t.Errorf("moved to %d bytes, the table differs (%v)", size, err)
				}
			}
			if _, _, err := table.Moved(table.Smallest() - 512); err == nil {
				t.Error("Moved accepts a disk that is too small")
			}
		})
	}
}

// TestMovedAtAnyMoment interrupts the writes at every byte. The disk must have a valid table, the old or the new one.
func TestMovedAtAnyMoment(t *testing.T) {
	old := made(t, 16*mib, "-n1:2048:+4M")
	table, err := Read(bytes.NewReader(old), 16*mib, 0)
	if err != nil {
		t.Fatal(err)
	}
	second, first, err := table.Moved(24 * mib)
	if err != nil {
		t.Fatal(err)
	}
	disk := resized(old, 24*mib)
	for step, w := range append(second, first...) {
		for off := 0; off < len(w.Data); off += 512 {
			copy(disk[w.Off+int64(off):], w.Data[off:min(len(w.Data), off+512)])
			got, err := Read(bytes.NewReader(disk), 24*mib, 0)
			if err != nil {
				t.Fatalf("step %d, after %d bytes: %v", step, off, err)
			}
			// The table must point to a valid second copy.
			at := int64(got.u64(atOther)) * 512
			header := disk[at:][:512]
			entries := disk[int64(binary.LittleEndian.Uint64(header[atEntries:]))*512:][:len(got.entries)]
			if sum(header[:headerLen], atSum) != binary.LittleEndian.Uint32(header[atSum:]) || !bytes.Equal(entries, got.entries) {
				t.Fatalf("step %d, after %d bytes: the second copy is not valid", step, off)
			}
		}
	}
}

func TestMoved4K(t *testing.T) {
	disk := on4K(t, made(t, 4*mib, "-n1:64:+1M"))
	size := int64(len(disk))
	table, err := Read(bytes.NewReader(disk), size, 0)
	if err != nil || table.Sector != 4096 {
		t.Fatalf("%+v, %v", table, err)
	}
	for _, size := range []int64{size, table.Smallest(), size + 4096*3, 2 * size} {
		second, first, err := table.Moved(size)
		if err != nil {
			t.Fatal(err)
		}
		moved := resized(disk, size)
		apply(moved, second)
		apply(moved, first)
		got, err := Read(bytes.NewReader(moved), size, 0)
		if err != nil || !got.IsAtEnd(size) || got.Sector != 4096 {
			t.Errorf("moved to %d bytes: %v", size, err)
		}
	}
}

// TestReadRefuses damages each byte of a header and of the entries.
func TestReadRefuses(t *testing.T) {
	disk := made(t, 4*mib, "-n1:2048:+1M")
	size := int64(len(disk))
	for _, at := range []int{520, 524, 528, 532, 540, 560, 584, 592, 596, 600, 1024, 1024 + 32, 1024 + 128*127} {
		bad := bytes.Clone(disk)
		bad[at] ^= 1
		if _, err := Read(bytes.NewReader(bad), size, 0); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
	for _, n := range []int{0, 1, 512, 1024, 2000} {
		if _, err := Read(bytes.NewReader(disk[:n]), int64(n), 0); err == nil {
			t.Errorf("a disk of %d bytes has a table", n)
		}
	}
	if _, err := Read(bytes.NewReader(make([]byte, mib)), mib, 0); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

// TestReadCopy reads both copies, and checks which error it gets if there is none.
func TestReadCopy(t *testing.T) {
	disk := made(t, 4*mib, "-n1:2048:+1M")
	size := int64(len(disk))
	last := uint64(size/512 - 1)
	first, err := ReadCopy(bytes.NewReader(disk), 1, 512)
	if err != nil || first.Other() != last {
		t.Fatalf("the first: %+v, %v", first, err)
	}
	second, err := ReadCopy(bytes.NewReader(disk), last, 512)
	if err != nil || second.Other() != 1 || !first.IsLike(second) {
		t.Fatalf("the second: %+v, %v", second, err)
	}
	for e := range second.Entries() {
		if e.Number != 1 || e.First != 2048 || e.Last != 4095 {
			t.Errorf("the table has %+v", e)
		}
	}
	for _, lba := range []uint64{0, 2, last - 1, last + 1, maxOff/512 + 1, 1<<64 - 1} {
		if _, err := ReadCopy(bytes.NewReader(disk), lba, 512); err != ErrNone {
			t.Errorf("sector %d: %v", lba, err)
		}
	}
	moved := bytes.Clone(disk)
	copy(moved[3*512:], disk[512:1024])
	if _, err := ReadCopy(bytes.NewReader(moved), 3, 512); !errors.Is(err, ErrDamaged) || err.Error() != "it is in sector 3 and says that it belongs in sector 1" {
		t.Error(err)
	}
	for _, n := range []int{512, 1024} { // unreadable from the header on, or from the entries on
		if _, err := ReadCopy(&failing{disk[:n]}, 1, 512); !errors.Is(err, errMedium) || errors.Is(err, ErrNone) || errors.Is(err, ErrDamaged) {
			t.Errorf("a disk that fails from byte %d on: %v", n, err)
		}
		if _, err := Read(&failing{disk[:n]}, size, 0); !errors.Is(err, errMedium) || errors.Is(err, ErrNone) || errors.Is(err, ErrDamaged) {
			t.Errorf("a disk that fails from byte %d on: %v", n, err)
		}
	}
}

// failing is a disk that is unreadable from some byte on. Its error wraps io.EOF but does not mean an end.
type failing struct{ data []byte }

var errMedium = fmt.Errorf("medium error: %w", io.EOF)

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.data)) || len(p) > len(f.data[off:]) {
		return 0, errMedium
	}
	return copy(p, f.data[off:]), nil
}

func TestEndOfMBR(t *testing.T) {
	sector := func(entries ...[4]uint32) []byte { // status, kind, start, length
		p := make([]byte, 512)
		p[510], p[511] = 0x55, 0xaa
		for i, e := range entries {
			at := p[mbrEntries+i*mbrEntryLen:]
			at[0], at[mbrType] = byte(e[0]), byte(e[1])
			binary.LittleEndian.PutUint32(at[mbrFirst:], e[2])
			binary.LittleEndian.PutUint32(at[mbrCount:], e[3])
		}
		return p
	}
	for name, c := range map[string]struct {
		first []byte
		end   int64
		ok    bool
	}{
		"zeros":        {first: make([]byte, 512)},
		"short":        {first: []byte{1}},
		"empty":        {first: sector()},
		"one":          {sector([4]uint32{0x80, 0x83, 2048, 100}), 2148 * 512, true},
		"extended":     {sector([4]uint32{0, 7, 63, 10}, [4]uint32{0, 5, 1000, 9000}), 10000 * 512, true},
		"largest":      {sector([4]uint32{0, 7, 1<<32 - 1, 1<<32 - 1}), (1<<33 - 2) * 512, true},
		"protective":   {first: sector([4]uint32{0, 0xee, 1, 1<<32 - 1})},
		"EE elsewhere": {sector([4]uint32{0, 0xee, 100, 10}), 110 * 512, true},
		"boot code":    {first: sector([4]uint32{0x33, 7, 63, 10})},
		"no length":    {first: sector([4]uint32{0, 7, 63, 0})},
		"at zero":      {first: sector([4]uint32{0, 7, 0, 63})},
	} {
		if end, ok := EndOfMBR(c.first, 512); end != c.end || ok != c.ok {
			t.Errorf("%s: %d, %v; want %d, %v", name, end, ok, c.end, c.ok)
		}
	}
}

// mbrEntryOf writes an entry to the MBR of a disk.
func mbrEntryOf(disk []byte, i int, kind byte, start, n uint32) {
	e := disk[mbrEntries+i*mbrEntryLen:][:mbrEntryLen]
	clear(e)
	e[mbrType] = kind
	binary.LittleEndian.PutUint32(e[mbrFirst:], start)
	binary.LittleEndian.PutUint32(e[mbrCount:], n)
}

// TestInUse checks which tables are in use, by the content of the first sector. blkid must agree, except for an entry
// that starts elsewhere: there Linux and firmware disagree with blkid.
func TestInUse(t *testing.T) {
	const size = 16 * mib
	disk := made(t, size, "-n1:2048:+4M")
	for name, c := range map[string]struct {
		change func(d []byte)
		want   error
	}{
		"protective MBR":      {func([]byte) {}, nil},
		"third entry":         {func(d []byte) { mbrEntryOf(d, 2, mbrProtective, 1, 9); mbrEntryOf(d, 0, 0, 0, 0) }, nil},
		"hybrid MBR":          {func(d []byte) { mbrEntryOf(d, 1, 0x83, 2048, 8192) }, nil},
		"MBR":                 {func(d []byte) { mbrEntryOf(d, 0, 0x83, 2048, 8192) }, ErrUnused},
		"zeros":               {func(d []byte) { clear(d[:512]) }, ErrUnused},
		"no signature":        {func(d []byte) { d[510] = 0 }, ErrUnused},
		"no entries":          {func(d []byte) { clear(d[mbrEntries:510]) }, ErrUnused},
		"MBR, first copy bad": {func(d []byte) { mbrEntryOf(d, 0, 0x83, 2048, 8192); d[600] ^= 1 }, ErrUnused},
		"MBR, no first copy":  {func(d []byte) { mbrEntryOf(d, 0, 0x83, 2048, 8192); clear(d[512:1024]) }, ErrNone},
		"no first copy":       {func(d []byte) { clear(d[512:1024]) }, ErrDamaged},
		"first copy bad":      {func(d []byte) { d[600] ^= 1 }, ErrDamaged},
		"entry elsewhere":     {func(d []byte) { mbrEntryOf(d, 0, mbrProtective, 2048, 8192) }, ErrUnused},
	} {
		d := bytes.Clone(disk)
		c.change(d)
		table, err := Read(bytes.NewReader(d), size, 0)
		if !errors.Is(err, c.want) || errors.Is(err, ErrUnused) != (c.want == ErrUnused) || (err == nil) != (table != nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if out := blkid(t, d); strings.Contains(out, "PTTYPE=gpt") != (c.want == nil || c.want == ErrDamaged) && name != "entry elsewhere" {
			t.Errorf("%s: %v; blkid says %q", name, err, out)
		}
	}
}

// blkid returns what blkid says of a disk's table.
func blkid(t *testing.T, disk []byte) string {
	t.Helper()
	out, err := oracle.Command(t, "blkid", "-p", "-o", "export", onFile(t, disk)).Output()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 2) { // 2: nothing
		t.Fatal(err)
	}
	return string(out)
}

// TestOtherSectors reads a table for sectors of 4096 bytes where remains of one for 512 precede it, whichever length
// is tried first.
func TestOtherSectors(t *testing.T) {
	old := made(t, 4*mib, "-n1:64:+1M")
	disk := on4K(t, old)
	copy(disk[512:], old[512:1024])
	for _, sector := range []int64{0, 512, 4096} {
		if table, err := Read(bytes.NewReader(disk), int64(len(disk)), sector); err != nil || table.Sector != 4096 {
			t.Errorf("sectors of %d bytes: %v", sector, err)
		}
	}
}

// TestSmallestOfHybrid checks that the second copy is not moved into a partition of a hybrid MBR.
func TestSmallestOfHybrid(t *testing.T) {
	const size = 16 * mib
	disk := made(t, size, "-n1:2048:+4M")
	mbrEntryOf(disk, 1, 0x83, 12*2048, 2048)
	table, err := Read(bytes.NewReader(disk), size, 0)
	if err != nil {
		t.Fatal(err)
	}
	if least, want := table.Smallest(), int64(13*mib+33*512); least != want {
		t.Errorf("the smallest disk has %d bytes, want %d", least, want)
	}
	if _, _, err := table.Moved(13 * mib); err == nil {
		t.Error("the second copy was moved into a partition")
	}
}

// FuzzRead checks that no disk makes Read panic or use too much memory, and that the methods of its table work.
func FuzzRead(f *testing.F) {
	valid := func(sector int) []byte {
		p := make([]byte, 2*sector+128*4)
		h := p[sector:]
		copy(h, signature)
		for at, v := range map[int]uint64{atOwn: 1, atOther: 63, atFirstUsable: 3, atLastUsable: 60, atEntries: 2} {
			binary.LittleEndian.PutUint64(h[at:], v)
		}
		for at, v := range map[int]uint32{atLength: headerLen, atCount: 4, atEntrySize: 128} {
			binary.LittleEndian.PutUint32(h[at:], v)
		}
		return p
	}
	f.Add(valid(512), int64(1<<20))
	f.Add(valid(4096), int64(1<<20))
	f.Fuzz(func(t *testing.T, disk []byte, size int64) {
		if len(disk) >= 512 { // and an MBR, without which no table is in use
			disk[510], disk[511], disk[mbrEntries+mbrType], disk[mbrEntries+mbrFirst] = 0x55, 0xaa, mbrProtective, 1
			clear(disk[mbrEntries+mbrFirst+1:][:3])
		}
		for _, sector := range []int{512, 4096} { // fix the checksums, which the fuzzer cannot find
			if len(disk) < sector+headerLen {
				continue
			}
			h := disk[sector:]
			entries := int64(binary.LittleEndian.Uint64(h[atEntries:])) * int64(sector)
			n := int64(binary.LittleEndian.Uint32(h[atCount:])) * int64(binary.LittleEndian.Uint32(h[atEntrySize:]))
			if entries > 0 && n >= 0 && entries < int64(len(disk)) && n <= int64(len(disk))-entries {
				binary.LittleEndian.PutUint32(h[atEntriesSum:], crc32.ChecksumIEEE(disk[entries:][:n]))
			}
			if length := int(binary.LittleEndian.Uint32(h[atLength:])); length >= headerLen && length <= len(h) {
				binary.LittleEndian.PutUint32(h[atSum:], sum(h[:length], atSum))
			}
		}
		table, err := Read(bytes.NewReader(disk), size, 0)
		if err != nil {
			return
		}
		if table.Smallest() <= 0 {
			t.Fatalf("the smallest disk has %d bytes", table.Smallest())
		}
		second, first, err := table.Moved(table.Smallest())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range append(second, first...) {
			if w.Off < 0 || w.Off+int64(len(w.Data)) > table.Smallest() {
				t.Fatalf("it writes %d bytes at %d of a disk of %d", len(w.Data), w.Off, table.Smallest())
			}
		}
	})
}
