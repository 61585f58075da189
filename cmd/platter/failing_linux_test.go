package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

// A failingDisk is a file that cannot be read in places: nbdkit fails where a mapfile of ddrescue says so, and nbdfuse shows
// that as a file.
type failingDisk struct {
	t      *testing.T
	folder string // the mountpoint
	path   string // the disk
}

// mapfile is what fails: one sector, two, and 2 MiB, not one of them by pages.
const mapfile = `0x00000000 + 1
0x00000000 0x00100000 +
0x00100000 0x00000200 -
0x00100200 0x00100000 +
0x00200200 0x00000400 -
0x00200600 0x00200000 +
0x00400600 0x00200000 -
0x00600600 0x009FFA00 +
`

// mapfileSize is how long a disk the mapfile is of.
const mapfileSize = 16 << 20

// newFailingDisk shows a disk that fails as the mapfile says.
func newFailingDisk(s *site, disk string) *failingDisk {
	s.t.Helper()
	if err := os.WriteFile(s.path("fails.map"), []byte(mapfile), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return showDisk(s, "--filter=ddrescue", "file", disk, "ddrescue-mapfile="+s.path("fails.map"))
}

// showDisk shows what an nbdkit of these arguments serves.
func showDisk(s *site, nbdkit ...string) *failingDisk {
	s.t.Helper()
	for _, tool := range []string{"nbdkit", "nbdfuse", "fusermount3"} {
		oracle.Path(s.t, tool)
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		oracle.Lacking(s.t, "no FUSE: %v", err)
	}
	d := &failingDisk{t: s.t, folder: s.path("mnt"), path: s.path("mnt/disk")}
	if err := os.Mkdir(d.folder, 0o700); err != nil {
		s.t.Fatal(err)
	}
	args := slices.Concat([]string{"-r", d.path, "[", "nbdkit", "-f", "-r", "--exit-with-parent"}, nbdkit, []string{"]"})
	fuse := exec.Command("nbdfuse", args...)
	var said buffer
	fuse.Stdout, fuse.Stderr = &said, &said
	if err := fuse.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- fuse.Wait() }()
	s.t.Cleanup(func() {
		_ = exec.Command("fusermount3", "-u", "-z", d.folder).Run()
		_ = fuse.Process.Kill()
		<-ended
	})
	waitFor(s.t, "nbdfuse", func() bool {
		select {
		case err := <-ended:
			ended <- err
			oracle.Lacking(s.t, "nbdfuse shows no disk here: %v: %s", err, said.String())
		default:
		}
		_, err := os.Stat(d.path)
		return err == nil
	})
	return d
}

// wantLost holds that a snapshot is what ddrescue copies of the disk, and that its bad map is the disk's.
func (d *failingDisk) wantLost(s *site, snapshot string) {
	d.t.Helper()
	s.start(nil, "restore", snapshot, s.path("restored"), "--force", "--verify").ends(3, "2.0 MiB of the disk are lost")
	if err := sameFiles(s.path("copy"), s.path("restored")); err != nil {
		d.t.Errorf("%s: %v", snapshot, err)
	}
	got, err := os.ReadFile(s.path("bad.map"))
	if err != nil {
		d.t.Fatal(err)
	}
	if blocks(string(got)) != blocks(mapfile) {
		d.t.Errorf("%s: what is lost is\n%s, want\n%s", snapshot, got, mapfile)
	}
}

// blocks are the blocks of a mapfile, each on its line.
func blocks(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		words := strings.Fields(strings.ToLower(line))
		if len(words) == 3 && strings.HasPrefix(words[0], "0x") && strings.HasPrefix(words[1], "0x") {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return strings.Join(lines, "\n")
}

// TestFailingDisk backs up a disk that really fails, as a file and as a device, and holds it against what ddrescue makes of
// it. With better luck, the next version is whole.
func TestFailingDisk(t *testing.T) {
	ddrescue := oracle.Path(t, "ddrescue")
	s := newSite(t)
	disk := s.disk("disk", mapfileSize, 1, "random")
	d := newFailingDisk(s, disk)
	if out, err := exec.Command(ddrescue, "-q", "-d", d.path, s.path("copy"), s.path("copy.map")).CombinedOutput(); err != nil {
		t.Fatalf("ddrescue: %v: %s", err, out)
	}
	s.start(nil, "backup", d.path, "--name", "strict", "--strict").ends(1, "read at 1048576: ")
	if list := s.snapshots(); len(list) > 0 {
		t.Errorf("--strict kept %v", list)
	}
	s.start(nil, "backup", d.path, "--name", "disk", "--bad-map", s.path("bad.map")).
		ends(3, "bytes 2097664 to 2098688 could not be read, and are stored as zeros")
	d.wantLost(s, "disk")

	s.start(nil, "backup", s.path("copy"), "--name", "copy", "--rescue-map", s.path("copy.map"), "--bad-map", s.path("bad.map")).ends(3, "")
	d.wantLost(s, "copy")
	if out := s.must("diff", "disk", "copy"); !strings.Contains(out, "differ in 0 B") {
		t.Errorf("by way of ddrescue it is another version: %s", out)
	}

	s.must("backup", disk, "--name", "disk")
	s.restores("disk", disk)
	s.sound()
}

// TestFailingDevice reads a block device that fails: in sectors where the device has those of 512 bytes and gives them, in
// pages elsewhere.
func TestFailingDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		oracle.Lacking(t, "needs root for a loop device")
	}
	s := newSite(t)
	d := newFailingDisk(s, s.disk("disk", mapfileSize, 2, "random"))
	s.start(nil, "backup", d.path, "--name", "file").ends(3, "")
	for _, direct := range []string{"on", "off"} {
		node := oracle.Loop(t, d.path, "--read-only", "--direct-io="+direct)
		s.start(nil, "backup", node, "--name", direct).ends(3, "")
	}
	if out := s.must("diff", "file", "on"); !strings.Contains(out, "differ in 0 B") {
		t.Errorf("as a device it is another version: %s", out)
	}
	var shown struct {
		Source struct {
			Kind       string `json:"kind"`
			SectorSize int64  `json:"sector_size"`
		}
		Unreadable int64
	}
	s.query(&shown, "show", "off")
	if want := int64(4096 + 4096 + 2<<20 + 4096); shown.Unreadable != want || shown.Source.Kind != "device" || shown.Source.SectorSize != 512 {
		t.Errorf("in pages: %+v, want %d bytes", shown, want)
	}
	if out := s.must("show", "on"); !strings.Contains(out, "\ndevice    sectors of 512 bytes\n") {
		t.Error(out)
	}
}

// TestUnpluggedDisk has every read fail from some time on, which is what a disk does that was unplugged or hangs: no snapshot
// is made of nothing but holes.
func TestUnpluggedDisk(t *testing.T) {
	s := newSite(t)
	pulled := s.path("pulled")
	d := showDisk(s, "--filter=error", "--filter=delay", "file", s.disk("disk", 64<<20, 3, "random"),
		"delay-read=20ms", "error=EIO", "error-pread-rate=100%", "error-file="+pulled)
	p := s.start(nil, "backup", d.path, "--name", "gone")
	s.waitForPacks(3)
	if err := os.WriteFile(pulled, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.ends(1, "the disk no longer answers, not even where it was readable before")
	if list := s.snapshots(); len(list) > 0 {
		t.Errorf("%v is kept", list)
	}
	s.start(nil, "backup", d.path, "--name", "dead").ends(1, "no place of the disk can be read")

	if err := os.Remove(pulled); err != nil {
		t.Fatal(err)
	}
	s.must("backup", d.path, "--name", "back")
	s.restores("back", s.path("disk"))
}

// TestMountedDevice warns of a device whose file system may be written to, and says nothing of one that is only read.
func TestMountedDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		oracle.Lacking(t, "needs root to mount")
	}
	s := newSite(t)
	disk := s.disk("disk", 8<<20, 1, "zeros")
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		oracle.Lacking(t, "no mkfs.ext4: %v", err)
	}
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			oracle.Lacking(t, "%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run(mkfs, "-q", "-F", disk)
	node := run("losetup", "--find", "--show", disk)
	t.Cleanup(func() { run("losetup", "--detach", node) })
	folder := s.path("fs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for option, words := range map[string]string{"ro": "", "rw": " is mounted on " + folder + " (rw): writes during the backup make the version a mixture"} {
		run("mount", "-o", option, node, folder)
		p := s.start(nil, "backup", node, "--name", option)
		p.ends(0, words)
		run("umount", folder)
		if option == "ro" && strings.Contains(p.stderr.String(), "warning") {
			t.Error(p.stderr.String())
		}
	}
}
