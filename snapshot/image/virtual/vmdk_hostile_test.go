package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"

	"platter/snapshot/image"
)

// Places in smallVMDK, in sectors.
const (
	smallDesc    = 1
	smallSecond  = 3 // directory, table
	smallFirst   = 5 // directory, table
	smallGrains  = 8
	smallSectors = 33 // of the disk: four grains of 8 sectors, and one sector of a fifth
)

const smallDescriptor = "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n" +
	"createType=\"monolithicSparse\"\nRW 33 SPARSE \"x.vmdk\"\n"

// smallVMDK makes a sparse file with every feature: two directories, data, a hole, zeros, and a short last grain. It
// returns the file and the disk.
func smallVMDK() (file, disk []byte) {
	file = make([]byte, (smallGrains+3*8)*vmdkSector)
	le := binary.LittleEndian
	copy(file, "KDMV")
	le.PutUint32(file[4:], 2)
	le.PutUint32(file[8:], vmdkFlagNewlines|vmdkFlagRedundant|vmdkFlagZeroed)
	le.PutUint64(file[12:], smallSectors+7) // rounded up
	le.PutUint64(file[20:], 8)
	le.PutUint64(file[28:], smallDesc)
	le.PutUint64(file[36:], 2)
	le.PutUint32(file[44:], 128)
	le.PutUint64(file[48:], smallSecond)
	le.PutUint64(file[56:], smallFirst)
	le.PutUint64(file[64:], smallGrains)
	copy(file[73:], "\n \r\n")
	copy(file[smallDesc*vmdkSector:], smallDescriptor)
	for _, directory := range []int{smallSecond, smallFirst} {
		le.PutUint32(file[directory*vmdkSector:], uint32(directory+1))
		table := file[(directory+1)*vmdkSector:]
		le.PutUint32(table, smallGrains)
		le.PutUint32(table[8:], 1)
		le.PutUint32(table[12:], smallGrains+16)
		le.PutUint32(table[16:], smallGrains+8)
	}
	for i := range file[smallGrains*vmdkSector:] {
		file[smallGrains*vmdkSector+i] = byte(i/4096) + 1
	}
	disk = make([]byte, smallSectors*vmdkSector)
	copy(disk, bytes.Repeat([]byte{1}, 4096))
	copy(disk[3*4096:], bytes.Repeat([]byte{3}, 4096))
	copy(disk[4*4096:], bytes.Repeat([]byte{2}, 512))
	return file, disk
}

// smallStream makes a stream-optimized file of 70 KiB of text.
func smallStream(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Create(&out, "vmdk", 70<<10, CreateOptions{})
	if err == nil {
		_, err = w.Write(bytes.Repeat([]byte("All the "), 70<<7))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSmallVMDK reads the unchanged handmade file that the other tests change.
func TestSmallVMDK(t *testing.T) {
	file, disk := smallVMDK()
	path := writeFile(t, filepath.Join(t.TempDir(), "disk.vmdk"), file)
	compare(t, mustOpen(t, path, "vmdk", Options{}), disk)
	if got := qemuImg(t, ".", "info", path); !strings.Contains(got, "file format: vmdk") {
		t.Errorf("qemu-img does not recognise it: %s", got)
	}
}

// broken checks that opening or reading a file fails. Unless the fault shows only in the data, the extents must fail
// too.
func broken(t *testing.T, path, format string, class error, word string, inData bool) {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(f, format, Options{})
	if err != nil {
		wrong(t, "Open", err, class, word)
		return
	}
	t.Cleanup(func() { _ = d.Close() })
	_, err = d.ReadAt(make([]byte, d.Size()), 0)
	wrong(t, "ReadAt", err, class, word)
	var last error
	for _, err := range d.Extents() {
		last = err
	}
	if !inData {
		wrong(t, "Extents", last, class, word)
	}
}

func wrong(t *testing.T, what string, err, class error, word string) {
	t.Helper()
	if err == nil || err == io.EOF {
		t.Errorf("%s: no error, want one about %q", what, word)
	} else if !errors.Is(err, class) || !strings.Contains(err.Error(), word) {
		t.Errorf("%s: %v; want %v, and %q", what, err, class, word)
	}
}

// put32 and put64 return an edit that writes a number.
func put32le(at int, v uint32) func([]byte) []byte {
	return func(p []byte) []byte { binary.LittleEndian.PutUint32(p[at:], v); return p }
}

func put64le(at int, v uint64) func([]byte) []byte {
	return func(p []byte) []byte { binary.LittleEndian.PutUint64(p[at:], v); return p }
}

// both returns the same edit for both copies of the tables.
func both(at int, v uint32) func([]byte) []byte {
	return func(p []byte) []byte {
		binary.LittleEndian.PutUint32(p[(smallFirst+1)*vmdkSector+at:], v)
		binary.LittleEndian.PutUint32(p[(smallSecond+1)*vmdkSector+at:], v)
		return p
	}
}

func cut(n int) func([]byte) []byte { return func(p []byte) []byte { return p[:n] } }

func replaced(old, new string) func([]byte) []byte {
	return func(p []byte) []byte {
		end := smallDesc*vmdkSector + 2*vmdkSector
		text := bytes.TrimRight(p[smallDesc*vmdkSector:end], "\x00")
		text = bytes.Replace(text, []byte(old), []byte(new), 1)
		clear(p[smallDesc*vmdkSector : end])
		copy(p[smallDesc*vmdkSector:end], text)
		return p
	}
}

// TestHostileSparseVMDK checks that each false field of a sparse file is an error.
func TestHostileSparseVMDK(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func([]byte) []byte
		class error
		word  string
	}{
		"only a magic":               {cut(4), ErrDamaged, "ends before"},
		"only a header":              {cut(512), ErrDamaged, "ends before"},
		"other version":              {put32le(4, 4), ErrUnsupported, "version 4"},
		"version 0":                  {put32le(4, 0), ErrUnsupported, "version 0"},
		"as text":                    {put32le(72, 0x0a0a0a00), ErrDamaged, "as binary"},
		"unknown flag":               {put32le(8, 1<<18), ErrUnsupported, "flags"},
		"compressed by flag":         {put32le(8, vmdkFlagPacked), ErrDamaged, "contradict each other"},
		"compressed otherwise":       {func(p []byte) []byte { p[77] = 2; return p }, ErrUnsupported, "compression 2"},
		"compressed without markers": {func(p []byte) []byte { p[77] = 1; return put32le(8, vmdkFlagPacked)(p) }, ErrUnsupported, "markers"},
		"no grain":                   {put64le(20, 0), ErrDamaged, "grains of 0"},
		"odd grain":                  {put64le(20, 24), ErrDamaged, "grains of 24"},
		"tiny grain":                 {put64le(20, 1), ErrDamaged, "grains of 1"},
		"huge grain":                 {put64le(20, 1<<40), ErrDamaged, "grains of"},
		"huge grain that overflows":  {put64le(20, 1<<55), ErrDamaged, "grains of"},
		"no entries":                 {put32le(44, 0), ErrDamaged, "0 entries"},
		"endless tables":             {put32le(44, 1<<31), ErrDamaged, "entries"},
		"no capacity":                {put64le(12, 0), ErrDamaged, "the header 0"},
		"capacity below the disk's":  {put64le(12, 32), ErrDamaged, "the header"},
		"capacity above the disk's":  {put64le(12, 41), ErrDamaged, "the header"},
		"endless capacity":           {put64le(12, 1<<63), ErrUnsupported, "sectors"},
		"endless directory": {func(p []byte) []byte {
			return replaced("RW 33", "RW 99999999")(put64le(12, 99999999)(p))
		}, ErrDamaged, "grain directory"},
		"no directory":                  {put64le(56, 0), ErrDamaged, "grain directory"},
		"directory past the end":        {put64le(56, 32), ErrDamaged, "grain directory"},
		"directory that overflows":      {put64le(56, 1<<62), ErrDamaged, "grain directory"},
		"missing footer":                {put64le(56, vmdkAtEnd), ErrDamaged, "its end is missing"},
		"second directory past the end": {put64le(48, 999), ErrDamaged, "second"},
		"table past the end":            {put32le(smallFirst*vmdkSector, 1<<20), ErrDamaged, "past its end"},
		"second table past the end":     {put32le(smallSecond*vmdkSector, 1<<20), ErrDamaged, "past its end"},
		"no table":                      {put32le(smallFirst*vmdkSector, 0), ErrDamaged, "its copy differ"},
		"no second table":               {put32le(smallSecond*vmdkSector, 0), ErrDamaged, "its copy differ"},
		"table that was zeroed":         {put32le((smallFirst+1)*vmdkSector, 0), ErrDamaged, "its copy differ"},
		"grain past the end":            {both(0, 1<<30), ErrDamaged, "past the file's end"},
		"grain cut off":                 {cut((smallGrains + 23) * vmdkSector), ErrDamaged, "past the file's end"},
		"grain in the descriptor":       {both(0, 2), ErrDamaged, "before all data"},
		"zeros that are not announced":  {put32le(8, vmdkFlagRedundant), ErrDamaged, "before all data"},
		"no descriptor":                 {put64le(28, 0), ErrUnsupported, "one part"},
		"empty descriptor":              {replaced(smallDescriptor, ""), ErrUnsupported, "one part"},
		"endless descriptor":            {put64le(36, 1<<60), ErrDamaged, "descriptor"},
		"descriptor past the end":       {put64le(28, 1<<30), ErrDamaged, "ends before"},
		"descriptor of other files":     {replaced("SPARSE", "FLAT"), ErrUnsupported, "other data"},
		"difference":                    {replaced("ffffffff", "12345677"), ErrUnsupported, "difference"},
		"encrypted":                     {replaced("createType", "encryption.keySafe"), ErrUnsupported, "encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := smallVMDK()
			broken(t, writeFile(t, filepath.Join(t.TempDir(), "disk.vmdk"), c.edit(file)), "vmdk", c.class, c.word, false)
		})
	}
}

// TestHostileStreamVMDK checks that each false field of a compressed file is an error.
func TestHostileStreamVMDK(t *testing.T) {
	good := smallStream(t)
	grain := vmdkOverhead * vmdkSector
	footer := len(good) - 2*vmdkSector
	// An edit of a grain replaces the second one by another stream, with a length.
	second := bytes.Index(good[grain+vmdkSector:], []byte{0x80, 0, 0, 0, 0, 0, 0, 0}) + grain + vmdkSector
	stream := func(packed []byte) func([]byte) []byte {
		return func(p []byte) []byte {
			copy(p[second+vmdkMarkLen:], packed)
			return put32le(second+8, uint32(len(packed)))(p)
		}
	}
	for name, c := range map[string]struct {
		edit   func([]byte) []byte
		word   string
		inData bool
	}{
		"cut off":                  {cut(len(good) - 512), "its end is missing", false},
		"one byte too many":        {func(p []byte) []byte { return append(p, 1) }, "its end is missing", false},
		"footer of another":        {put64le(footer+20, 8), "another file", false},
		"footer without directory": {put64le(footer+56, vmdkAtEnd), "another file", false},
		"other grain":              {put64le(second, 0), "its marker is for the grain", true},
		"no length":                {put32le(second+8, 0), "0 bytes", true},
		"endless length":           {put32le(second+8, 1<<31), "bytes in the file", true},
		"past the end":             {put32le(second+8, 128<<10), "bytes in the file", true},
		"no stream":                {stream([]byte("nonsense")), "zlib", true},
		"wrong checksum":           {func(p []byte) []byte { p[second+vmdkMarkLen+int(le32(p[second+8:]))-1] ^= 1; return p }, "checksum", true},
		"cut stream":               {func(p []byte) []byte { return put32le(second+8, le32(p[second+8:])-5)(p) }, "EOF", true},
		"short grain":              {stream(zlibOf(make([]byte, 6<<10-1))), "it has 6143 of 6144 bytes", true},
		"more than a grain":        {stream(zlibOf(make([]byte, 64<<10+1))), "longer than a grain", true},
		"bomb":                     {stream(zlibOf(make([]byte, 400<<10))), "longer than a grain", true},
	} {
		t.Run(name, func(t *testing.T) {
			file := c.edit(bytes.Clone(good))
			broken(t, writeFile(t, filepath.Join(t.TempDir(), "disk.vmdk"), file), "vmdk", ErrDamaged, c.word, c.inData)
		})
	}
	// The last grain may end with the disk.
	path := writeFile(t, filepath.Join(t.TempDir(), "disk.vmdk"), stream(zlibOf(bytes.Repeat([]byte{7}, 6<<10)))(bytes.Clone(good)))
	want := append(bytes.Repeat([]byte("All the "), 64<<7), bytes.Repeat([]byte{7}, 6<<10)...)
	compare(t, mustOpen(t, path, "vmdk", Options{}), want)
}

func zlibOf(p []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write(p)
	_ = w.Close()
	return out.Bytes()
}
