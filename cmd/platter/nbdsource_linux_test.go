package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"platter/snapshot/image/oracle"
)

// serveNBD starts an NBD server on a socket, which listens before the server starts. It ends with the test, or when end is
// called.
func serveNBD(t *testing.T, socket, program string, args ...string) (end func()) {
	t.Helper()
	path := oracle.Path(t, program)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if program == "nbdkit" {
		args = append([]string{"-f"}, args...)
	}
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, path}, args...)...)
	var said buffer
	cmd.ExtraFiles, cmd.Stderr = []*os.File{f}, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && said.String() != "" {
			t.Logf("%s said\n%s", program, said.String())
		}
	})
	t.Cleanup(end)
	return end
}

// TestNBDSource backs up one disk from servers of many kinds: it is always the same version.
func TestNBDSource(t *testing.T) {
	s := newSite(t)
	raw, qcow2 := s.disk("disk.img", 10<<20+512, 1, "sparse"), s.path("disk.qcow2")
	oracle.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
	parted := s.path("parted.img")
	oracle.Run(t, "truncate", "-s", "16M", parted)
	oracle.Feed(t, "label: gpt\nstart=2048, size=20481\n", "sfdisk", "-q", parted)
	copyPart(t, raw, 0, parted, 1<<20)
	var file snapshotJSON
	s.query(&file, "backup", raw, "--name", "file")
	if file.Stats.Read > file.Size*3/4 {
		t.Fatalf("the disk has no holes: %d of %d bytes were read", file.Stats.Read, file.Size)
	}
	for i, tc := range []struct {
		name  string
		args  []string
		holes bool
	}{
		{"nbdkit", []string{"nbdkit", "file", raw}, true},
		{"read-only", []string{"nbdkit", "-r", "file", raw}, true},
		{"one connection", []string{"nbdkit", "--filter=multi-conn", "file", raw, "multi-conn-mode=disable"}, true},
		{"late replies", []string{"nbdkit", "--filter=delay", "file", raw, "rdelay=5ms"}, true},
		{"no extents", []string{"nbdkit", "--filter=noextents", "file", raw}, false},
		{"no structured replies", []string{"nbdkit", "--no-sr", "file", raw}, false},
		{"large blocks", []string{
			"nbdkit", "--filter=blocksize-policy", "file", raw, "blocksize-minimum=512", "blocksize-preferred=65536",
			"blocksize-maximum=65536", "blocksize-error-policy=error",
		}, true},
		{"a partition", []string{"nbdkit", "--filter=partition", "file", parted, "partition=1"}, false},
		{"qemu-nbd", []string{"qemu-nbd", "--format=raw", "--persistent", "--shared=3", raw}, true},
		{"a qcow2", []string{"qemu-nbd", "--format=qcow2", "--read-only", qcow2}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			socket := s.path("s" + strconv.Itoa(i))
			serveNBD(t, socket, tc.args[0], tc.args[1:]...)
			var kept snapshotJSON
			s.query(&kept, "backup", "nbd+unix:///?socket="+socket, "--name", tc.name)
			if kept.Root != file.Root || kept.Size != file.Size || kept.Source.Kind != "nbd" || kept.Modified {
				t.Errorf("root %v, want %v; %d bytes, kind %q, modified %t", kept.Root, file.Root, kept.Size, kept.Source.Kind, kept.Modified)
			}
			if tc.holes == (kept.Stats.Read == kept.Size) {
				t.Errorf("%d of %d bytes were read", kept.Stats.Read, kept.Size)
			}
		})
	}
}

// TestNBDHoles has the server record what is read: no hole, and nothing twice except for the anatomy.
func TestNBDHoles(t *testing.T) {
	s := newSite(t)
	raw := s.disk("disk.img", 10<<20, 1, "sparse")
	serveNBD(t, s.path("s"), "nbdkit", "--filter=log", "file", raw, "logfile="+s.path("log"))
	var kept snapshotJSON
	s.query(&kept, "backup", "nbd+unix:///vda?socket="+s.path("s"), "--name", "disk")
	log, err := os.ReadFile(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	connections := map[string]bool{}
	for _, m := range regexp.MustCompile(`connection=(\d+) Read id=\d+ offset=0x[0-9a-f]+ count=0x([0-9a-f]+)`).FindAllStringSubmatch(string(log), -1) {
		n, err := strconv.ParseInt(m[2], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
		connections[m[1]] = true
	}
	if sum < kept.Stats.Read || sum > kept.Stats.Read+4<<20 || kept.Stats.Read > 8<<20 {
		t.Errorf("%d bytes were requested, and %d read, of a disk of %d", sum, kept.Stats.Read, kept.Size)
	}
	if len(connections) < 2 {
		t.Errorf("the reads came over %d connections", len(connections))
	}
	s.start(nil, "backup", "nbd+unix:///vda?socket="+s.path("s"), "--name", "disk", "-v", "--connections", "2").
		ends(0, "2 connections; its holes are not read")
}

// TestNBDFailing backs up an export that the server cannot read in places.
func TestNBDFailing(t *testing.T) {
	s := newSite(t)
	disk := s.disk("disk", mapfileSize, 1, "random")
	if err := os.WriteFile(s.path("fails.map"), []byte(mapfile), 0o600); err != nil {
		t.Fatal(err)
	}
	serveNBD(t, s.path("s"), "nbdkit", "--filter=ddrescue", "file", disk, "ddrescue-mapfile="+s.path("fails.map"))
	uri := "nbd+unix:///?socket=" + s.path("s")
	s.start(nil, "backup", uri, "--name", "disk", "--strict").ends(1, "read at 1048576: ")
	s.start(nil, "backup", uri, "--name", "disk", "--bad-map", s.path("bad.map")).
		ends(3, "bytes 2097664 to 2098688 could not be read, and are stored as zeros")
	got, err := os.ReadFile(s.path("bad.map"))
	if err != nil || blocks(string(got)) != blocks(mapfile) {
		t.Errorf("what is lost is\n%s, want\n%s%v", got, mapfile, err)
	}
	serveNBD(t, s.path("dead"), "nbdkit", "--filter=error", "file", disk, "error-pread=EIO", "error-pread-rate=100%")
	s.start(nil, "backup", "nbd+unix:///?socket="+s.path("dead"), "--name", "dead").ends(1, "no place of the disk can be read")
	serveNBD(t, s.path("denied"), "nbdkit", "--filter=error", "file", disk, "error-pread=EPERM", "error-pread-rate=100%")
	s.start(nil, "backup", "nbd+unix:///?socket="+s.path("denied"), "--name", "denied").ends(1, "permission denied")
	if list := s.snapshots(); len(list) != 1 {
		t.Errorf("%d versions were stored, want 1", len(list))
	}
}

// TestNBDLost loses the server after some bytes: nothing is stored, and the next backup goes on.
func TestNBDLost(t *testing.T) {
	s := newSite(t)
	disk := s.disk("disk", 32<<20, 1, "random")
	serveNBD(t, s.path("s"), "nbdkit", "file", disk)
	cutAfter(t, s.path("cut"), s.path("s"), 20<<20, nil)
	p := s.start(nil, "backup", "nbd+unix:///?socket="+s.path("cut"), "--name", "disk")
	p.ends(1, "the connection to the NBD server")
	if list := s.snapshots(); len(list) != 0 {
		t.Errorf("%d versions were stored", len(list))
	}
	s.must("backup", "nbd+unix:///?socket="+s.path("s"), "--name", "disk")
	s.restores("disk", disk)
}

// TestNBDStalled interrupts a backup whose server does not answer any more.
func TestNBDStalled(t *testing.T) {
	s := newSite(t)
	serveNBD(t, s.path("s"), "nbdkit", "file", s.disk("disk", 32<<20, 1, "random"))
	stalled := make(chan struct{})
	cutAfter(t, s.path("stall"), s.path("s"), 20<<20, sync.OnceFunc(func() { close(stalled) }))
	p := s.start(nil, "backup", "nbd+unix:///?socket="+s.path("stall"), "--name", "disk")
	<-stalled
	p.interrupt()
}

// cutAfter passes bytes between a socket and a server's, until n bytes came from the server over all connections. Then it cuts
// them, or if stall is not nil, calls it and passes nothing on.
func cutAfter(t *testing.T, socket, server string, n int64, stall func()) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	left.Store(n)
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	pass := func(client net.Conn) {
		defer client.Close()
		to, err := net.Dial("unix", server)
		if err != nil {
			return
		}
		defer to.Close()
		all.Go(func() {
			_, _ = io.Copy(to, client)
			to.Close()
		})
		b := make([]byte, 64<<10)
		for {
			n, err := to.Read(b)
			if err != nil {
				return
			}
			if left.Add(-int64(n)) < 0 {
				if stall == nil {
					return
				}
				stall()
				continue
			}
			if _, err := client.Write(b[:n]); err != nil {
				return
			}
		}
	}
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(client) })
		}
	})
}

// TestNBDResized backs up an export that another connection sees with another size.
func TestNBDResized(t *testing.T) {
	s := newSite(t)
	disk := s.disk("disk", 4<<20, 1, "random")
	serveNBD(t, s.path("s"), "nbdkit", "eval", "can_multi_conn=exit 0", "thread_model=echo parallel", "get_size=wc -c <"+disk,
		`pread=if [ "$4" -gt 1000000 ]; then truncate -s 5M `+disk+`; fi; tail -c +$(($4 + 1)) `+disk+` | head -c "$3"`)
	p := s.start(nil, "backup", "nbd+unix:///?socket="+s.path("s"), "--name", "disk", "--connections", "1")
	p.ends(1, "its size changed while it was read: 4194304 bytes when it was opened, 5242880 bytes now")
	if list := s.snapshots(); len(list) != 0 {
		t.Errorf("%d versions were stored", len(list))
	}
}
