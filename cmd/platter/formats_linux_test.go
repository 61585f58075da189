package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"platter/chunk"
	"platter/snapshot/image/oracle"
	"platter/snapshot/image/virtual"
)

// qemuNames are the names that qemu-img has for formats.
func qemuName(format string) string {
	if format == "vhd" {
		return "vpc"
	}
	return format
}

// TestFormats checks that a disk is the same whatever image it is kept in: what comes in as one comes out as any other, and
// only the first takes room.
func TestFormats(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	raw := makeRealDisk(t, s, 9)
	formats := virtual.Formats()
	if len(formats) < 6 || formats[0] != virtual.Raw {
		t.Fatalf("formats are %v", formats)
	}
	root := chunk.ID{}
	for _, format := range formats {
		source := raw
		if format != virtual.Raw {
			source = s.path("in." + format + ".img") // names tell nothing
			args := []string{"convert", "-f", "raw", "-O", qemuName(format), raw, source}
			if format == "vhd" {
				args = append(args, "-o", "force_size=on") // or it would be as long as cylinders make it
			}
			oracle.Run(t, "qemu-img", args...)
		}
		var kept snapshotJSON
		s.query(&kept, "backup", source, "--name", format)
		if root.IsZero() {
			root = kept.Root
		} else if kept.Root != root || kept.Stats.New > 0 || kept.Source.Kind != format {
			t.Errorf("%s: root %v, %d bytes are new, kind %q", format, kept.Root, kept.Stats.New, kept.Source.Kind)
		}
	}
	for i, format := range formats[1:] {
		from := formats[i] // another one
		out := s.path("out." + format)
		s.must("export", from, out, "--verify")
		oracle.Run(t, "qemu-img", "compare", "-f", "raw", "-F", qemuName(format), raw, out)
		if format != "vhd" { // qemu-img has no check for it
			oracle.Run(t, "qemu-img", "check", "-f", format, out)
		}
		s.must("restore", format, s.path("back"), "--force")
		if err := sameFiles(raw, s.path("back")); err != nil {
			t.Errorf("%s restored: %v", format, err)
		}
	}
	s.must("export", "raw", s.path("small.qcow2"), "--compress")
	oracle.Run(t, "qemu-img", "check", s.path("small.qcow2"))
	oracle.Run(t, "qemu-img", "compare", raw, s.path("small.qcow2"))
	for _, format := range []string{"qcow2", "vmdk"} {
		p := s.start(nil, "export", "raw", "-", "--format", format)
		p.ends(0, "")
		if err := os.WriteFile(s.path("streamed"), []byte(p.stdout.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		oracle.Run(t, "qemu-img", "compare", "-f", "raw", "-F", format, raw, s.path("streamed"))
	}
}

// TestExportRefuses checks that an export harms nothing that is there, and says what to do.
func TestExportRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.must("backup", s.disk("disk", 3<<20, 1, "random"), "--name", "disk")
	s.disk("there.qcow2", 4096, 2, "random")
	before, err := os.ReadFile(s.path("there.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"disk", s.path("there.qcow2")}, 1, "exists already"},
		{[]string{"disk", s.path("repo/x.qcow2")}, 1, "in the folder of the repository"},
		{[]string{"disk", s.path("no/x.qcow2")}, 1, "make its folder"},
		{[]string{"disk", s.path("x.raw")}, 2, "'platter restore'"},
		{[]string{"disk", s.path("x")}, 2, "missing format"},
		{[]string{"disk", s.path("x.tar")}, 2, "one of qcow2"},
		{[]string{"disk", s.path("x.qcow2"), "--format", "raw"}, 2, "'platter restore'"},
		{[]string{"disk", "-"}, 2, "missing format"},
		{[]string{"disk", "-", "--format", "qcow2", "--verify"}, 2, "cannot be used with"},
		{[]string{"disk", "-", "--format", "qcow2", "--compress"}, 1, "write to a file"},
		{[]string{"nothing", s.path("x.qcow2")}, 1, "nothing"},
	} {
		s.start(nil, append([]string{"export"}, c.args...)...).ends(c.code, c.says)
	}
	after, err := os.ReadFile(s.path("there.qcow2"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("what was there is not any more: %v", err)
	}
	if left, err := filepath.Glob(s.path("*partial*")); len(left) > 0 || err != nil {
		t.Errorf("%v is left behind, %v", left, err)
	}
	s.must("export", "disk", s.path("there.qcow2"), "--force")
	oracle.Run(t, "qemu-img", "compare", s.path("disk"), s.path("there.qcow2"))
}

// TestImagesOfGuests checks that a guest cannot make its disk something else by what it writes to it.
func TestImagesOfGuests(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	raw := s.disk("guest", 2<<20, 1, "random")
	s.must("backup", raw, "--name", "guest")
	oracle.Run(t, "qemu-img", "create", "-f", "qcow2", s.path("header"), "1G")
	paste(t, s.path("header"), raw, 0)
	s.start(nil, "backup", raw, "--name", "guest").ends(0, "was a raw disk before")
	s.restores("guest", raw)
	s.start(nil, "backup", raw, "--name", "fresh", "--format", "raw").ends(0, "")
	s.restores("fresh", raw)
	if err := os.WriteFile(s.path("header"), append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 4096)...), 0o600); err != nil {
		t.Fatal(err)
	}
	paste(t, s.path("header"), raw, 0) // of an image that does not even open
	s.start(nil, "backup", raw, "--name", "guest").ends(0, "was a raw disk before")
	s.restores("guest", raw)
	s.start(nil, "backup", raw, "--name", "unknown").ends(1, "if it is a raw disk, use --format raw")

	// A device, or a pipe, is what it is.
	in, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	s.start(in, "backup", "-", "--name", "piped").ends(0, "")
	s.restores("piped", raw)
	s.start(nil, "backup", "-", "--format", "qcow2").ends(2, "give the image file itself")

	// No way leads out of an image.
	secret := s.disk("secret", 1<<20, 3, "random")
	oracle.Run(t, "qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", secret, s.path("top.qcow2"))
	s.start(nil, "backup", s.path("top.qcow2"), "--name", "top").ends(1, "--follow-backing")
	s.must("backup", s.path("top.qcow2"), "--name", "top", "--follow-backing")
	s.restores("top", secret)
	descriptor := "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n" +
		"RW 2048 FLAT \"" + secret + "\" 0\n"
	if err := os.WriteFile(s.path("leads.vmdk"), []byte(descriptor), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(nil, "backup", s.path("leads.vmdk"), "--name", "leads").ends(1, "another folder")
	beside := strings.ReplaceAll(descriptor, secret, "secret")
	if err := os.WriteFile(s.path("leads.vmdk"), []byte(beside), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("backup", s.path("leads.vmdk"), "--name", "leads")
	s.restores("leads", secret)
	if err := errors.Join(os.Rename(secret, s.path("elsewhere")), os.Symlink("elsewhere", secret)); err != nil {
		t.Fatal(err)
	}
	s.start(nil, "backup", s.path("leads.vmdk"), "--name", "leads").ends(1, "not a regular file")
}

// TestInternalSnapshots keeps what an image held before.
func TestInternalSnapshots(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	raw := s.disk("before", 2<<20, 1, "random")
	img := s.path("disk.qcow2")
	oracle.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, img)
	oracle.Run(t, "qemu-img", "snapshot", "-c", "monday", img)
	oracle.Run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 9 0 1M", img)
	s.must("backup", img, "--name", "now")
	s.must("backup", img, "--name", "then", "--internal-snapshot", "monday")
	s.restores("then", raw)
	now, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	copy(now, slices.Repeat([]byte{9}, 1<<20))
	if err := os.WriteFile(s.path("now"), now, 0o600); err != nil {
		t.Fatal(err)
	}
	s.restores("now", s.path("now"))
	s.start(nil, "backup", img, "--internal-snapshot", "tuesday").ends(1, "monday")
	s.start(nil, "backup", raw, "--internal-snapshot", "monday").ends(2, "raw disk")
}
