package anatomy

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// containerOf reads a disk and checks that Container agrees.
func containerOf(t *testing.T, disk image.Disk) string {
	t.Helper()
	d := check(t, disk)
	noted := 0
	for _, n := range d.Notes {
		if IsContainerNote(n) {
			noted++
		}
	}
	if name, note := Container(disk); name != d.Container || (note != "") != (name != "") || noted != min(len(name), 1) {
		t.Errorf("Container says %q, %q, and Read %q, %q", name, note, d.Container, d.Notes)
	}
	return d.Container
}

// TestForeign checks each magic, together with the rest that it needs.
func TestForeign(t *testing.T) {
	pads := map[string]map[int64]string{ // what the second tests need
		"bzip2": {3: "91AY&SY"}, "fsarchiver": {40: "FsArCh_002"}, "vmdk": {4: "\x01"}, "ghost": {3: "\x01"},
	}
	names := map[string]string{"ova": "machine.OVF", "xva": "ova.xml"}
	for _, f := range foreigns {
		disk := make([]byte, 64<<10)
		at := f.at
		if at < 0 {
			at += int64(len(disk))
		}
		for off, more := range pads[f.name] {
			copy(disk[off:], more)
		}
		copy(disk[at:], f.magic)
		switch f.name {
		case "tar", "ova", "xva":
			copy(disk, tarOf(t, names[f.name]+map[bool]string{true: "disk.img"}[f.name == "tar"]))
		case "vhd":
			sector := disk[at:][:512]
			var sum uint32
			for _, c := range sector {
				sum += uint32(c)
			}
			be.PutUint32(sector[64:], ^sum)
		}
		if got := containerOf(t, image.Mem{Data: disk}); got != f.name {
			t.Errorf("%s: found %q", f.what, got)
		}
		for i := range len(f.magic) { // no byte of the magic may differ
			bad := bytes.Clone(disk)
			bad[at+int64(i)] ^= 0x10
			if got := containerOf(t, image.Mem{Data: bad}); got != "" && f.name != "tar" && f.name != "ova" && f.name != "xva" && got != f.name {
				t.Errorf("%s with another byte %d: found %q", f.what, i, got)
			}
		}
		if containerOf(t, image.Mem{Data: disk[:min(int(at), 100)]}) == f.name && f.at != 0 {
			t.Errorf("%s, truncated: still found", f.what)
		}
	}
}

func tarOf(t *testing.T, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 1000}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestForeignFiles recognises files that programs make.
func TestForeignFiles(t *testing.T) {
	raw := oracle.Blank(t, 4<<20)
	oracle.Feed(t, "label: dos\n2048,4096,83\n", "sfdisk", "-q", raw)
	content, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	var zipped, packed bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(content); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	p := zip.NewWriter(&packed)
	if w, err := p.Create("disk.img"); err != nil {
		t.Fatal(err)
	} else if _, err := io.Copy(w, bytes.NewReader(content)); err != nil || p.Close() != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{"gzip": zipped.Bytes(), "zip": packed.Bytes(), "tar": tarOf(t, "disk.img"), "ova": tarOf(t, "m.ovf")} {
		if got := containerOf(t, image.Mem{Data: data}); got != want {
			t.Errorf("%s: found %q", want, got)
		}
	}
	for _, c := range [][2]string{
		{"qcow2", ""},
		{"qed", ""},
		{"vdi", ""},
		{"vhdx", ""},
		{"parallels", ""},
		{"vmdk", ""},
		{"vmdk", "subformat=streamOptimized"},
		{"vmdk", "subformat=monolithicFlat"},
		{"vpc", "subformat=dynamic"},
		{"vpc", "subformat=fixed"},
	} {
		made := filepath.Join(t.TempDir(), "made")
		args := []string{"convert", "-f", "raw", "-O", c[0]}
		if c[1] != "" {
			args = append(args, "-o", c[1])
		}
		oracle.Run(t, "qemu-img", append(args, raw, made)...)
		data, err := os.ReadFile(made)
		if err != nil {
			t.Fatal(err)
		}
		if got := containerOf(t, image.Mem{Data: data}); got != strings.Replace(c[0], "vpc", "vhd", 1) {
			t.Errorf("%v: found %q", c, got)
		}
	}
	if got := containerOf(t, image.Mem{Data: content}); got != "" {
		t.Errorf("a raw disk: found %q", got)
	}
}

// TestNothingForeign checks that disks with any content count as disks.
func TestNothingForeign(t *testing.T) {
	for name := range heads {
		if got := containerOf(t, image.Mem{Data: head(t, name)}); got != "" {
			t.Errorf("%s: found %q", name, got)
		}
	}
	text := make([]byte, 4096)
	copy(text[257:], "ustar  ")
	copy(text, "boot code with a word of tar in it")
	ghost := make([]byte, 4096)
	copy(ghost, "\xfe\xef\x01\x01")
	ghost[510], ghost[511] = 0x55, 0xaa
	for name, data := range map[string][]byte{
		"nothing": nil, "a byte": {0x1f}, "zeros": make([]byte, 1<<20), "ustar in code": text, "a boot sector": ghost,
		"a GPT": gptDisk(2048, layout{linuxKind, 64, 100}).Data, "an MBR": mbrDisk(layout{"\x83", 2048, 2048}).Data,
	} {
		if got := containerOf(t, image.Mem{Data: data}); got != "" {
			t.Errorf("%s: found %q", name, got)
		}
	}
}
