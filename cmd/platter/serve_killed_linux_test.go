package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"platter/snapshot/image/oracle"
)

// A write is one of qemu-io: n bytes of a pattern.
type write struct {
	pattern byte
	off, n  int64
}

func (w write) String() string {
	if w.pattern == 0 {
		return fmt.Sprintf("write -z %d %d", w.off, w.n)
	}
	return fmt.Sprintf("write -P %d %d %d", w.pattern, w.off, w.n)
}

func (w write) on(disk []byte) {
	copy(disk[w.off:w.off+w.n], bytes.Repeat([]byte{w.pattern}, int(w.n)))
}

// TestServeKilled kills nbd while QEMU writes to an overlay, again and again. What was flushed is in the overlay. Of what was
// not, each sector is as before or as written.
func TestServeKilled(t *testing.T) {
	oracle.Path(t, "qemu-io")
	oracle.Path(t, "nbdcopy")
	s := newSite(t)
	disk := s.disk("disk", 4<<20, 1, "mixed")
	s.must("backup", disk, "--name", "disk")
	flushed, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 12))
	any := func() write {
		off := rnd.Int64N(int64(len(flushed))/512) * 512
		return write{byte(rnd.IntN(200)), off, min(512*(1+rnd.Int64N(200)), int64(len(flushed))-off)}
	}
	for round := range int(shorter(8, 3)) {
		p, uri := s.nbd("disk", "--overlay", s.path("kept"))
		m := boot(t, uri(""), "-f", "raw")
		for range 1 + rnd.IntN(8) {
			w := any()
			m.does(w.String(), fmt.Sprintf("wrote %d/%d", w.n, w.n))
			w.on(flushed)
		}
		m.flush()
		var later []write // not flushed, and the last one may be under way
		for range rnd.IntN(8) {
			w := any()
			m.does(w.String(), fmt.Sprintf("wrote %d/%d", w.n, w.n))
			later = append(later, w)
		}
		later = append(later, any())
		if _, err := fmt.Fprintln(m.stdin, later[len(later)-1]); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wait()
		m.stop()
		s.must("nbd", "disk", "--overlay", s.path("kept"), "--run", `nbdcopy "$uri" `+s.path("now"))
		now, err := os.ReadFile(s.path("now"))
		if err != nil || len(now) != len(flushed) {
			t.Fatalf("%d bytes, %v", len(now), err)
		}
		for off := 0; off < len(now); off += 512 {
			got := now[off : off+512]
			if !bytes.Equal(got, flushed[off:off+512]) && !isOneOf(got, int64(off), later) {
				t.Fatalf("round %d: the sector at %d is neither what was flushed nor what was written after that", round, off)
			}
		}
		flushed = now
	}
	s.must("nbd", "disk", "--overlay", s.path("kept"), "--save", "disk", "--run", "true")
	s.restores("disk", s.path("now"))
}

// flush has QEMU flush, which prints nothing but the next prompt. It comes after a command that wrote.
func (m *imageUser) flush() {
	m.t.Helper()
	_, err := fmt.Fprintln(m.stdin, "flush")
	for range 2 { // the prompts before and after it
		if err == nil {
			_, err = m.said.ReadString('>')
		}
	}
	if err != nil {
		m.t.Fatalf("flush: %v", err)
	}
}

func isOneOf(sector []byte, off int64, writes []write) bool {
	for _, w := range writes {
		if w.off <= off && off < w.off+w.n && bytes.Equal(sector, bytes.Repeat([]byte{w.pattern}, len(sector))) {
			return true
		}
	}
	return false
}

// TestServeSaveInterrupted sends signals while what was written is being saved. A first one does not end that. A second one
// kills, and the overlay, whose place was said before, can be saved later.
func TestServeSaveInterrupted(t *testing.T) {
	needMounts(t)
	s := newSite(t)
	disk := s.disk("disk", 32<<20, 1, "sparse")
	s.must("backup", disk, "--name", "disk")
	id := s.snapshots()[0].ID
	data := noise(24<<20, 7)
	scribble(t, disk, data, 4<<20)

	p, dir := s.mount(id, "--save", "disk")
	scribble(t, filepath.Join(dir, "disk.img"), data, 4<<20)
	oracle.Run(t, "umount", dir)
	p.says("saving what was written as a version of disk")
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.ends(0, "")
	s.restores("disk", disk)
	s.atRest()

	for try := range 10 { // it may be faster than this test
		var overlay string
		p, dir := s.mount(id, "--save", fmt.Sprint("again", try))
		data := noise(24<<20, byte(8+try))
		scribble(t, disk, data, 4<<20)
		scribble(t, filepath.Join(dir, "disk.img"), data, 4<<20)
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		p.says("saving what was written")
		if found := regexp.MustCompile(`until then it is in (.*)\n`).FindStringSubmatch(p.stderr.String()); found != nil {
			overlay = found[1]
		}
		_ = p.Process.Signal(os.Interrupt) // it may have ended
		if p.wait() == 0 {
			continue
		}
		if n := len(s.snapshots()); n != 2+try {
			t.Fatalf("there are %d versions", n)
		}
		s.must("nbd", id, "--overlay", overlay, "--save", "disk", "--run", "true")
		s.restores("disk", disk)
		s.sound()
		return
	}
	t.Fatal("no save could be interrupted")
}
