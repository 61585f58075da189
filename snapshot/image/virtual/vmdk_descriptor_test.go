package virtual

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"platter/snapshot/image"
)

const descriptorHead = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"custom\"\n"

// TestVMDKDescriptor reads parts of all kinds, in all spellings.
func TestVMDKDescriptor(t *testing.T) {
	dir := t.TempDir()
	sparse, disk := smallVMDK()
	writeFile(t, filepath.Join(dir, "small part.vmdk"), sparse)
	flat := bytes.Repeat([]byte("flat "), 1024)
	writeFile(t, filepath.Join(dir, "flat.vmdk"), flat)
	writeFile(t, filepath.Join(dir, "Büro.vmdk"), flat)
	for name, c := range map[string]struct {
		text string
		want []byte
	}{
		"one":             {descriptorHead + "RW 10 FLAT \"flat.vmdk\" 0\n", flat},
		"sectors of it":   {descriptorHead + "RW 2 FLAT \"flat.vmdk\" 3\n", flat[3*512 : 5*512]},
		"no last newline": {descriptorHead + "RW 10 FLAT \"flat.vmdk\" 0", flat},
		"of Windows":      {strings.ReplaceAll(descriptorHead+"rw=1\n\n RDONLY\t10  FLAT  \"flat.vmdk\"  0 \n", "\n", "\r\n"), flat},
		"of ESX":          {descriptorHead + "RW 10 VMFS \"flat.vmdk\"\nchangeTrackPath=\"flat-ctk.vmdk\"\nddb.uuid = \"60 00\"\n", flat},
		"of all kinds": {
			descriptorHead + "RW 3 FLAT \"flat.vmdk\" 2\nRW 4 ZERO\nRW 33 SPARSE \"small part.vmdk\"\nRW 1 FLAT \"flat.vmdk\" 9\n",
			bytes.Join([][]byte{flat[1024 : 5*512], make([]byte, 4*512), disk, flat[9*512:]}, nil),
		},
		"of a sector":           {descriptorHead + "RW 10 FLAT \"flat.vmdk\" 0\n" + strings.Repeat("\x00", 300), flat},
		"of qemu, shortened":    {descriptorHead + "RW 10 FLAT \"flat.vmdk\" 0\n\x00\"\n" + strings.Repeat("\x00", 100), flat},
		"in another code page":  {descriptorHead + "encoding=\"windows-1252\"\nRW 10 FLAT \"B\xfcro.vmdk\" 0\n", flat},
		"in UTF-8":              {descriptorHead + "encoding=\"UTF-8\"\nRW 10 FLAT \"Büro.vmdk\" 0\n", flat},
		"without its first one": {"# made by hand\n\nversion=1\nCID=1\nRW 10 FLAT \"flat.vmdk\" 0\n", flat},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, filepath.Join(dir, "disk.vmdk"), []byte(c.text))
			compare(t, mustOpen(t, path, "vmdk", Options{}), c.want)
		})
	}
}

// TestHostileVMDKDescriptor checks that a descriptor cannot name files in other folders, and that each false
// statement is an error.
func TestHostileVMDKDescriptor(t *testing.T) {
	dir := t.TempDir()
	sparse, _ := smallVMDK()
	writeFile(t, filepath.Join(dir, "sparse.vmdk"), sparse)
	writeFile(t, filepath.Join(dir, "flat.vmdk"), make([]byte, 5120))
	writeFile(t, filepath.Join(dir, "cowd.vmdk"), []byte("COWD"+strings.Repeat("\x00", 2044)))
	writeFile(t, filepath.Join(dir, "empty.vmdk"), nil)
	if err := os.MkdirAll(filepath.Join(dir, "folder", "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "outside.vmdk"), make([]byte, 5120))
	folder := filepath.Join(dir, "folder")
	for _, name := range []string{"sparse.vmdk", "flat.vmdk", "cowd.vmdk", "empty.vmdk"} {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]struct {
		text  string
		class error
		word  string
	}{
		"nothing":            {"", ErrDamaged, "names no data"},
		"no part":            {"ddb.x = \"1\"\n", ErrDamaged, "names no data"},
		"path from the root": {"RW 10 FLAT \"" + filepath.ToSlash(filepath.Join(dir, "outside.vmdk")) + "\" 0\n", ErrUnsupported, "another folder"},
		"path upward":        {"RW 10 FLAT \"../outside.vmdk\" 0\n", ErrUnsupported, "another folder"},
		"path downward":      {"RW 10 FLAT \"inner/flat.vmdk\" 0\n", ErrUnsupported, "another folder"},
		"path of Windows":    {"RW 10 FLAT \"..\\outside.vmdk\" 0\n", ErrUnsupported, "another folder"},
		"device of Windows":  {"RW 10 FLAT \"\\\\.\\PhysicalDrive0\" 0\n", ErrUnsupported, "another folder"},
		"upper folder":       {"RW 10 FLAT \"..\" 0\n", ErrUnsupported, "another folder"},
		"folder":             {"RW 10 FLAT \"inner\" 0\n", ErrUnsupported, "not a regular file"},
		"missing":            {"RW 10 FLAT \"gone.vmdk\" 0\n", os.ErrNotExist, "part of the disk"},
		"no name":            {"RW 10 FLAT\n", ErrDamaged, "no name"},
		"empty name":         {"RW 10 FLAT \"\" 0\n", ErrDamaged, "no name"},
		"open name":          {"RW 10 FLAT \"flat.vmdk 0\n", ErrDamaged, "no name"},
		"no length":          {"RW FLAT \"flat.vmdk\" 0\n", ErrDamaged, "want ACCESS"},
		"length 0":           {"RW 0 FLAT \"flat.vmdk\" 0\n", ErrDamaged, "sectors"},
		"negative length":    {"RW -1 FLAT \"flat.vmdk\" 0\n", ErrDamaged, "sectors"},
		"endless length":     {"RW 9223372036854775807 ZERO\n", ErrDamaged, "sectors"},
		"length beyond":      {"RW 99999999999999999999 ZERO\n", ErrDamaged, "sectors"},
		"endless in sum":     {strings.Repeat("RW 100000000000 ZERO\n", 3), ErrUnsupported, "more than"},
		"endless parts":      {strings.Repeat("RW 1 ZERO\n", maxFiles+1), ErrUnsupported, "parts"},
		"longer than a file": {"RW 11 FLAT \"flat.vmdk\" 0\n", ErrDamaged, "5120"},
		"start past the end": {"RW 10 FLAT \"flat.vmdk\" 1\n", ErrDamaged, "5120"},
		"negative start":     {"RW 10 FLAT \"flat.vmdk\" -1\n", ErrDamaged, "after the name"},
		"endless start":      {"RW 10 FLAT \"flat.vmdk\" 9223372036854775807\n", ErrDamaged, "after the name"},
		"start that is text": {"RW 10 FLAT \"flat.vmdk\" x\n", ErrDamaged, "after the name"},
		"more behind it":     {"RW 10 FLAT \"flat.vmdk\" 0 partitionUUID device\n", ErrDamaged, "after the name"},
		"overlapping":        {"RW 5 FLAT \"flat.vmdk\" 0\nRW 5 FLAT \"flat.vmdk\" 4\n", ErrDamaged, "the same bytes"},
		"sparse twice":       {"RW 33 SPARSE \"sparse.vmdk\"\nRW 33 SPARSE \"sparse.vmdk\"\n", ErrDamaged, "the same bytes"},
		"sparse and flat":    {"RW 33 SPARSE \"sparse.vmdk\"\nRW 1 FLAT \"sparse.vmdk\" 0\n", ErrDamaged, "the same bytes"},
		"flat as sparse":     {"RW 10 SPARSE \"flat.vmdk\"\n", ErrDamaged, "no header"},
		"empty as sparse":    {"RW 10 SPARSE \"empty.vmdk\"\n", ErrDamaged, "ends before"},
		"sparse of another":  {"RW 64 SPARSE \"sparse.vmdk\"\n", ErrDamaged, "the header"},
		"COWD as sparse":     {"RW 10 SPARSE \"cowd.vmdk\"\n", ErrUnsupported, "COWD"},
		"COWD":               {"RW 10 VMFSSPARSE \"cowd.vmdk\"\n", ErrUnsupported, "vmkfstools"},
		"seSparse":           {"RW 10 SESPARSE \"flat.vmdk\"\n", ErrUnsupported, "vmkfstools"},
		"raw device":         {"RW 10 VMFSRDM \"flat.vmdk\"\n", ErrUnsupported, "VMFSRDM"},
		"no access":          {"NOACCESS 10 FLAT \"flat.vmdk\" 0\n", ErrUnsupported, "without read access"},
		"misspelt access":    {"RV 10 FLAT \"flat.vmdk\" 0\n", ErrDamaged, "neither a key nor"},
		"difference":         {"RW 10 ZERO\nparentFileNameHint=\"/etc/shadow\"\n", ErrUnsupported, "--follow-backing"},
		"two versions":       {"version=1\nRW 10 ZERO\n", ErrDamaged, "twice"},
		"two parents":        {"parentCID=12\nRW 10 ZERO\n", ErrDamaged, "twice"},
		"encrypted":          {"encryption.keySafe = \"vmware:key/list\"\n", ErrUnsupported, "encrypted"},
		"zeros in the midst": {"RW 10 ZERO\n\x00RW 10 ZERO\n", ErrDamaged, "not all text"},
		"too long for one":   {"RW 10 ZERO\n" + strings.Repeat("#\n", vmdkDescriptorMax/2), ErrUnsupported, "--format raw"},
	}
	if runtime.GOOS != "windows" {
		hostileFiles(t, folder)
		for _, name := range []string{"link.vmdk", "fifo.vmdk", "null.vmdk"} {
			cases[name] = cases["folder"]
			c := cases[name]
			c.text = "RW 10 FLAT \"" + name + "\" 0\n"
			cases[name] = c
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, filepath.Join(folder, "disk.vmdk"), []byte(descriptorHead+c.text))
			opensNot(t, path, "vmdk", Options{}, c.class, c.word)
		})
	}
}

// TestVMDKCircle checks that a loop of differencing disks is refused.
func TestVMDKCircle(t *testing.T) {
	dir := t.TempDir()
	for _, names := range [][2]string{{"a.vmdk", "b.vmdk"}, {"b.vmdk", "a.vmdk"}} {
		text := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=1\nparentFileNameHint=%q\nRW 10 ZERO\n", names[1])
		writeFile(t, filepath.Join(dir, names[0]), []byte(text))
	}
	opensNot(t, filepath.Join(dir, "a.vmdk"), "vmdk", Options{FollowBacking: true}, ErrUnsupported, "a loop")
}

// TestDetectVMDK checks that a guest cannot turn its raw disk into a descriptor by writing to it.
func TestDetectVMDK(t *testing.T) {
	text := []byte(descriptorHead + "RW 10 FLAT \"other-machine.raw\" 0\n")
	long := append(bytes.Clone(text), strings.Repeat("RW 1 ZERO\n", 1000)...)
	disk := make([]byte, 1<<20)
	copy(disk, text)
	used := bytes.Clone(disk)
	used[4000], used[1<<20-1] = 0x80, 1
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"descriptor":             {text, "vmdk"},
		"long descriptor":        {long, "vmdk"},
		"without a space":        {[]byte("#Disk DescriptorFile\r\nversion=1\r\n"), "vmdk"},
		"version only":           {[]byte("\n# by hand\nversion=1\n"), "vmdk"},
		"sparse":                 {append([]byte("KDMV"), make([]byte, 508)...), "vmdk"},
		"COWD":                   {append([]byte("COWD"), make([]byte, 508)...), "vmdk"},
		"seSparse":               {[]byte(vmdkMagicSE), "vmdk"},
		"empty disk with a text": {disk, Raw},
		"disk with a text":       {used, Raw},
		"text and binary":        {append(bytes.Clone(text), 0, 1, 0x80), Raw},
		"some other text":        {[]byte("# Disk of mine\nhello\n"), Raw},
		"a word":                 {[]byte("KDM"), Raw},
		"nothing":                {nil, Raw},
	} {
		if got, err := Detect(image.Mem{Data: c.data}); err != nil || got != c.want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, c.want)
		}
	}
}
