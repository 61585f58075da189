package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

// TestVersions makes the three versions of a small disk. After each, what changed reads back, and the tools that
// know GPT, FAT and ext4 best find no fault.
func TestVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("slow under the race detector, which has nothing to find here")
	}
	image := filepath.Join(t.TempDir(), "disk.img")
	releases := []string{1: "6.1.0-28", 2: "6.1.0-28", 3: "6.1.0-29"}
	var syslog []byte

	for version := 1; version <= 3; version++ {
		if err := run([]string{"-size", "64M", "-version", strconv.Itoa(version), image}); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		m, err := openMachine(image)
		if err != nil {
			t.Fatal(err)
		}
		if version == 1 {
			syslog = generate(logLines, logFile, 3*unit(m))
		} else {
			syslog = append(syslog, generate(logLines, fmt.Sprint("day ", version), unit(m))...)
		}
		if got, err := m.root.ReadFile(logFile); err != nil || !bytes.Equal(got, syslog) {
			t.Errorf("version %d: log has %d bytes, want these %d: %v", version, len(got), len(syslog), err)
		}
		want := kernel(releases[version])[1]
		if got, err := m.esp.ReadFile(want.name); err != nil ||
			!bytes.Equal(got, generate(want.make, want.name, want.size)) {
			t.Errorf("version %d: %s differs: %v", version, want.name, err)
		}
		if entries, err := m.esp.ReadDir("EFI/debian"); err != nil || len(entries) != 2 {
			t.Errorf("version %d: EFI/debian has %d files, want 2: %v", version, len(entries), err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		checkDisk(t, image)
	}
}

// TestWrongVersion changes a disk that is not at the version before.
func TestWrongVersion(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := create(image, minSize); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int{0, 3, 4} {
		if err := change(image, version); err == nil {
			t.Errorf("change to version %d: want an error", version)
		}
	}
	if err := create(image, minSize); err == nil {
		t.Error("create over an existing image: want an error")
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"7": 7, "3K": 3 << 10, "256M": 256 << 20, "4G": 4 << 30} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "M", "1MM", "-1", "1T", "9999999999G"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", in, got)
		}
	}
}

// checkDisk has the partition table and both file systems checked by the usual tools, those of them that are installed.
func checkDisk(t *testing.T, image string) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	esp := partition(t, f, alignment, espSize)
	root := partition(t, f, alignment+espSize, rootSize(info.Size()))

	// sgdisk does not tell a fault by its exit status.
	if out := oracle.Run(t, "sgdisk", "-v", image); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	oracle.Run(t, "fsck.vfat", "-n", esp)
	oracle.Run(t, "fsck.ext4", "-fn", root)
}

// partition copies a part of the disk into a file of its own.
func partition(t *testing.T, disk io.ReaderAt, off, size int64) string {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "partition")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, io.NewSectionReader(disk, off, size)); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}
