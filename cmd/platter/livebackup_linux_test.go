package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/snapshot/image/oracle"
)

// A liveMachine is a QEMU that has a disk, and whose guest is the test: it has not started.
type liveMachine struct {
	t       *testing.T
	monitor string // for the script
	conn    net.Conn
	replies *json.Decoder
	end     func() // ends QEMU, which must not have said anything
}

// liveDevice is the disk of a machine, and liveNode the block node of it.
const liveDevice, liveNode = "/machine/peripheral/disk0/virtio-backend", "disk"

func startMachine(s *site, format, disk string) *liveMachine {
	s.t.Helper()
	monitor, ours := s.path("monitor"), s.path("ours")
	cmd := oracle.Command(s.t, "qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32",
		"-qmp", "unix:"+monitor+",server=on,wait=off", "-qmp", "unix:"+ours+",server=on,wait=off",
		"-blockdev", "driver=file,filename="+disk+",node-name=file", "-blockdev", "driver="+format+",file=file,node-name="+liveNode+",discard=unmap",
		"-device", "virtio-blk-pci,drive="+liveNode+",id=disk0")
	var said buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	m := &liveMachine{t: s.t, monitor: monitor}
	m.end = func() {
		_, _ = m.qmp("quit", nil) // which may end before it replies
		_ = cmd.Wait()
		if said.String() != "" { // qemu-io prints failures there
			s.t.Errorf("QEMU said\n%s", said.String())
		}
	}
	s.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_, _ = cmd.Process.Kill(), cmd.Wait()
		}
	})
	waitFor(s.t, "QEMU", func() (ok bool) {
		var err error
		m.conn, err = net.Dial("unix", ours)
		return err == nil
	})
	s.t.Cleanup(func() { m.conn.Close() })
	m.replies = json.NewDecoder(m.conn)
	m.must("qmp_capabilities", nil)
	return m
}

// qmp runs a command, and returns its result.
func (m *liveMachine) qmp(command string, args any) (result json.RawMessage, err error) {
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return nil, err
	}
	for {
		var reply struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		switch err := m.replies.Decode(&reply); {
		case err != nil:
			return nil, err
		case reply.Error != nil:
			return nil, errors.New(reply.Error.Desc)
		case reply.Return != nil:
			return reply.Return, nil
		}
	}
}

func (m *liveMachine) must(command string, args any) json.RawMessage {
	m.t.Helper()
	result, err := m.qmp(command, args)
	if err != nil {
		m.t.Fatalf("%s: %v", command, err)
	}
	return result
}

// io has the guest read from its disk or write to it, by a command of qemu-io.
func (m *liveMachine) io(command string) {
	m.t.Helper()
	m.must("human-monitor-command", map[string]string{"command-line": fmt.Sprintf("qemu-io -d %s %q", liveDevice, command)})
}

// write has the guest change its disk somewhere.
func (m *liveMachine) write(rng *rand.Rand, size int64) {
	m.t.Helper()
	n := (1 + rng.Int64N(256)) * 512
	off := rng.Int64N((size-n)/512) * 512
	m.io([]string{
		fmt.Sprintf("write -q -P %d %d %d", 1+rng.IntN(255), off, n),
		fmt.Sprintf("write -q -z %d %d", off, n),
		fmt.Sprintf("discard -q %d %d", off, n),
	}[min(rng.IntN(6), 2)])
}

// backUp runs scripts/live-backup.sh. It calls before right before the moment that is kept, after between it and the backup, and
// then meanwhile until the script ends.
func (m *liveMachine) backUp(s *site, overlayDir string, before, after, meanwhile func()) error {
	m.t.Helper()
	for _, tool := range []string{"jq", "qemu-img", "setsid", "socat"} {
		oracle.Path(m.t, tool)
	}
	l, err := net.Listen("unix", s.path("hooks"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer l.Close()
	p := s.command()
	p.Cmd.Path, p.Args = "../../scripts/live-backup.sh", []string{"live-backup.sh", m.monitor, liveNode, "live"}
	if p.Cmd.Path, err = filepath.Abs(p.Cmd.Path); err != nil {
		m.t.Fatal(err)
	}
	p.Env = append(p.Env, "PLATTER="+s.program, "OVERLAY_DIR="+overlayDir, "FREEZE=socat - UNIX-CONNECT:"+s.path("hooks"), "THAW=socat - UNIX-CONNECT:"+s.path("hooks"))
	if err := p.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := p.Wait()
		l.Close()
		ended <- err
	}()
	for _, do := range []func(){before, after} {
		if c, err := l.Accept(); err == nil {
			do()
			c.Close()
		}
	}
	for {
		select {
		case err := <-ended:
			if err != nil {
				err = fmt.Errorf("%w: %s", err, p.stderr.String())
			}
			return err
		default:
			meanwhile()
		}
	}
}

// wantClean checks that nothing of the backup is left in the machine or in the folder of its overlay.
func (m *liveMachine) wantClean(overlayDir string) {
	m.t.Helper()
	var nodes []struct {
		Name string `json:"node-name"`
	}
	if err := json.Unmarshal(m.must("query-named-block-nodes", map[string]bool{"flat": true}), &nodes); err != nil {
		m.t.Fatal(err)
	}
	if exports := m.must("query-block-exports", nil); len(nodes) != 2 || string(exports) != "[]" {
		m.t.Errorf("the machine has the nodes %v and the exports %s", nodes, exports)
	}
	if left, err := os.ReadDir(overlayDir); len(left) > 0 || err != nil {
		m.t.Errorf("%v is left, %v", left, err)
	}
}

// TestLiveBackup backs up a running machine that writes all the time: the version is the disk of one moment.
func TestLiveBackup(t *testing.T) {
	if testing.Short() {
		t.Skip("starts QEMU")
	}
	const size = 48 << 20
	for _, format := range []string{"raw", "qcow2"} {
		t.Run(format, func(t *testing.T) {
			s := newSite(t)
			s.t = t
			want, disk := s.disk("want", size, 3, "sparse"), s.path("disk")
			oracle.Run(t, "qemu-img", "convert", "-f", "raw", "-O", format, want, disk)
			m := startMachine(s, format, disk)
			if err := os.Mkdir(s.path("overlay"), 0o700); err != nil {
				t.Fatal(err)
			}
			rng, writes := rand.New(rand.NewPCG(1, 2)), 0
			many := func() {
				for range 100 {
					m.write(rng, size)
				}
			}
			err := m.backUp(s, s.path("overlay"), func() {
				many()
				m.io("flush")
				oracle.Run(t, "qemu-img", "convert", "-U", "-f", format, "-O", "raw", disk, want)
			}, many, func() {
				m.write(rng, size)
				writes++
			})
			if err != nil || writes == 0 {
				t.Fatalf("%v; %d writes", err, writes)
			}
			t.Logf("%d writes during the backup", writes)
			m.wantClean(s.path("overlay"))
			m.io("flush")
			m.end()

			var live, then, now snapshotJSON
			s.query(&live, "show", "live")
			s.query(&then, "backup", want, "--name", "then")
			s.query(&now, "backup", disk, "--name", "now")
			if live.Root != then.Root || live.Modified || live.Source.Kind != "nbd" {
				t.Errorf("root %v, want %v; modified %t, kind %q", live.Root, then.Root, live.Modified, live.Source.Kind)
			}
			if now.Root == then.Root {
				t.Error("the machine did not change its disk")
			}
			s.restores("live", want)
		})
	}
}

// TestLiveBackupNoRoom gives the overlay too little space: the backup is refused, and the machine does not notice. Once it has
// its space, nothing else can take that away.
func TestLiveBackupNoRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("starts QEMU")
	}
	if os.Geteuid() != 0 {
		oracle.Lacking(t, "only root can mount a tmpfs")
	}
	s := newSite(t)
	overlay := s.path("overlay")
	if err := os.Mkdir(overlay, 0o700); err != nil {
		t.Fatal(err)
	}
	oracle.Run(t, "mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", overlay)
	t.Cleanup(func() { _ = exec.Command("umount", overlay).Run() })
	want := s.disk("want", 8<<20, 1, "random")
	m := startMachine(s, "raw", s.disk("disk", 8<<20, 1, "random"))
	err := m.backUp(s, overlay, func() {}, func() {}, func() { m.io("read -q 4M 512") })
	if err == nil || !strings.Contains(err.Error(), "cannot reserve") {
		t.Errorf("the backup: %v", err)
	}
	if list := s.snapshots(); len(list) != 0 {
		t.Errorf("%d versions were stored", len(list))
	}
	m.wantClean(overlay)

	oracle.Run(t, "mount", "-o", "remount,size=12M", overlay)
	filler := filepath.Join(overlay, "filler")
	err = m.backUp(s, overlay, func() {
		if err := os.WriteFile(filler, make([]byte, 12<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the overlay's file system is not full: %v", err)
		}
	}, func() { m.io("write -q -P 7 0 8M") }, func() { m.io("read -q -P 7 0 8M") })
	if err := errors.Join(err, os.Remove(filler)); err != nil {
		t.Fatal(err)
	}
	m.wantClean(overlay)
	m.end()
	s.restores("live", want)
}
