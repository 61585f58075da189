package machine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// TestSigns holds what is made of consoles, as machines printed them.
func TestSigns(t *testing.T) {
	for _, test := range []struct{ console, pass, fail string }{
		{"\x1b[2J\x1b[0mSeaBIOS (version 1.16.2)\r\nBooting from Hard Disk...\r\n", "", ""},
		{"\x1bc\x1b[?7l\x1b[2J\r\n\r\nDebian GNU/Linux 12 web ttyS0\r\n\r\nweb login: ", "a login prompt", ""},
		{"\r\n\x1b[H\x1b[J(none) login: ", "a login prompt", ""},
		{"Last login: Sat Nov 28 12:00:00 on ttyS0\r\n", "", ""},
		{"systemd[1]: Started getty@tty1.service - Getty, shows login: prompts\r\n", "", ""},
		{"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n", "", "a kernel panic"},
		{"You are in emergency mode. After logging in, type \"journalctl -xb\"", "", "an emergency shell"},
		{"ALERT!  UUID=77 does not exist.  Dropping to a shell!\r\n\r\n(initramfs) ", "", "a shell in the initramfs: it did not find its root file system"},
		{"\x1b[mdracut:/# ", "", "a shell in the initramfs: it did not find its root file system"},
		{"error: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> ", "", "a boot loader that does not go on"},
		{"Welcome to GRUB!\r\n\r\n  Booting `Debian GNU/Linux'\r\n", "", ""},
		{"Boot failed: not a bootable disk\r\n\nNo bootable device.\r\n", "", "firmware that finds nothing to boot"},
		{"BdsDxe: No bootable option or device was found.\r\n", "", "firmware that finds nothing to boot"},
		{"\x1b[01;01HUEFI Interactive Shell v2.2\r\nShell> ", "", "firmware that finds nothing to boot"},
	} {
		c := &console{}
		for _, b := range []byte(test.console) { // in pieces
			_, _ = c.Write([]byte{b})
		}
		if pass, fail := find(ready, c.text()), find(failed, c.text()); pass != test.pass || fail != test.fail {
			t.Errorf("%q: %q, %q", test.console, pass, fail)
		}
	}
}

// TestConsole holds that a console of any length takes bounded memory, and that its end is kept.
func TestConsole(t *testing.T) {
	var all strings.Builder
	c := &console{to: &all}
	for i := range 20_000 {
		fmt.Fprintf(c, "line %d\r\n", i)
		if len(c.data) > 2*maxConsole {
			t.Fatalf("%d bytes are kept", len(c.data))
		}
	}
	if text := c.text(); !strings.HasSuffix(text, "line 19998\nline 19999\n") || strings.Count(all.String(), "\n") != 20_000 {
		t.Errorf("it ends with %q", text[len(text)-30:])
	}
}

func TestScreenText(t *testing.T) {
	screen := make([]byte, screenLen)
	for at, text := range map[int]string{0: "first", 160: "web login: ", 24 * 160: "last"} {
		for i := range len(text) {
			screen[at+2*i], screen[at+2*i+1] = text[i], 7
		}
	}
	text := screenText(screen)
	if lines := strings.Split(text, "\n"); len(lines) != 25 || lines[0] != "first" || lines[1] != "web login:" || lines[24] != "last" {
		t.Errorf("%q", text)
	}
	if find(ready, text) == "" {
		t.Error("a login prompt on the screen is not seen")
	}
	if got := screenText(screen[:3]); got != "f" {
		t.Errorf("a short screen: %q", got)
	}
}

// answering serves a QMP connection with one answer per command.
func answering(t *testing.T, answer func(command string) string) *qmp {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	go func() {
		fmt.Fprintln(theirs, `{"QMP": {"version": {}, "capabilities": []}}`)
		for lines := bufio.NewScanner(theirs); lines.Scan(); {
			var said struct{ Execute string }
			if json.Unmarshal(lines.Bytes(), &said) != nil {
				return
			}
			fmt.Fprintln(theirs, `{"event": "RESUME", "timestamp": {}}`)
			if said.Execute == "qmp_capabilities" {
				fmt.Fprintln(theirs, `{"return": {}}`)
			} else {
				fmt.Fprintln(theirs, answer(said.Execute))
			}
		}
	}()
	q, err := newQMP(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.close)
	return q
}

func TestQMP(t *testing.T) {
	q := answering(t, func(command string) string {
		if command == "bad" {
			return `{"error": {"class": "GenericError", "desc": "no such thing"}}`
		}
		return `{"return": {"status": "running"}}`
	})
	var said struct{ Status string }
	if err := q.run("query-status", nil, &said); err != nil || said.Status != "running" {
		t.Errorf("%+v, %v", said, err)
	}
	if err := q.run("bad", nil, nil); err == nil || !strings.Contains(err.Error(), "bad: no such thing") {
		t.Errorf("an error: %v", err)
	}
	if err := answering(t, func(string) string { return strings.Repeat("x", 2*maxAnswer) }).run("x", nil, nil); err == nil {
		t.Error("an answer without end is taken")
	}
	if err := answering(t, func(string) string { return "not JSON" }).run("x", nil, nil); err == nil {
		t.Error("an answer that is not JSON is accepted")
	}
}

// fakeMachine is a machine whose console a test writes.
func fakeMachine(t *testing.T) *Machine {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	return &Machine{
		folder: t.TempDir(), done: make(chan struct{}), console: &console{}, agent: ours,
		qmp: answering(t, func(string) string { return `{"error": {"desc": "no screen"}}` }),
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		o      CheckOptions
		then   func(m *Machine)
		passed bool
		reason string
	}{
		{"a login prompt", CheckOptions{}, func(m *Machine) { fmt.Fprint(m.console, "web login: ") }, true, "a login prompt"},
		{"another sign is wanted", CheckOptions{Expect: "READY (1)"}, func(m *Machine) { fmt.Fprint(m.console, "web login: READY (1)") }, true, `"READY (1)" on the console`},
		{"a panic", CheckOptions{Expect: "READY"}, func(m *Machine) { fmt.Fprint(m.console, "Kernel panic - not syncing: x") }, false, "a kernel panic"},
		{"nothing", CheckOptions{}, func(*Machine) {}, false, "no sign of a running system after 1m0s; the console is empty"},
		{"something else", CheckOptions{}, func(m *Machine) { fmt.Fprint(m.console, "Loading\r\n\r\n") }, false, `no sign of a running system after 1m0s; the last line was "Loading"`},
		{"switched off", CheckOptions{}, func(m *Machine) { close(m.done) }, false, "the machine was switched off or restarted by its system; the console is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := fakeMachine(t)
				go func() {
					time.Sleep(3 * time.Second)
					test.then(m)
				}()
				test.o.Timeout = time.Minute
				r, err := m.Check(t.Context(), test.o)
				if err != nil || r.Passed != test.passed || r.Reason != test.reason || r.Took < 3*time.Second {
					t.Errorf("%+v, %v", r, err)
				}
				m.agent.Close()
				m.tasks.Wait()
			})
		})
	}
}

// TestCheckCrashed holds that a QEMU that fails says nothing about the disk.
func TestCheckCrashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fakeMachine(t)
		m.err = errors.New("killed")
		close(m.done)
		if r, err := m.Check(t.Context(), CheckOptions{Timeout: time.Minute}); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%+v, %v", r, err)
		}
		m.agent.Close()
		m.tasks.Wait()
	})
}

// TestCheckAgent holds that an answer of the guest agent counts, and one that never comes does not keep the check.
func TestCheckAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fakeMachine(t)
		ours, theirs := net.Pipe()
		m.agent = ours
		go func() {
			lines := bufio.NewScanner(theirs)
			for n := 0; lines.Scan(); n++ {
				if n == 3 {
					fmt.Fprintln(theirs, `{"return": {}}`)
				}
			}
		}()
		r, err := m.Check(t.Context(), CheckOptions{Timeout: time.Minute})
		if err != nil || !r.Passed || r.Reason != "an answer of the guest agent" {
			t.Errorf("%+v, %v", r, err)
		}
		ours.Close()
		theirs.Close()
		m.tasks.Wait()
	})
}

func TestFirmwareOf(t *testing.T) {
	disk := func(code byte) image.Disk {
		data := make([]byte, 4096)
		data[3] = code
		return image.Mem{Data: data}
	}
	gpt := func(types ...string) *anatomy.Disk {
		d := &anatomy.Disk{Table: anatomy.GPT}
		for _, name := range types {
			d.Partitions = append(d.Partitions, anatomy.Partition{Type: name})
		}
		return d
	}
	mbr := &anatomy.Disk{Table: anatomy.MBR, Partitions: []anatomy.Partition{{Type: espType}, {Type: "0x83"}}}
	for _, test := range []struct {
		disk image.Disk
		d    *anatomy.Disk
		want Firmware
	}{
		{disk(0), nil, BIOS},
		{disk(1), gpt("0fc63daf-8483-4772-8e79-3d69d8477de4"), BIOS},
		{disk(0), gpt(espGUID), UEFI},
		{disk(1), gpt(espGUID), UEFI},
		{disk(0), gpt(espGUID, biosBootGUID), BIOS},
		{disk(0), mbr, UEFI},
		{disk(1), mbr, BIOS},
	} {
		if got := FirmwareOf(test.disk, test.d); got != test.want {
			t.Errorf("%+v: %s, want %s", test.d, got, test.want)
		}
	}
	ntfs := &anatomy.Disk{Partitions: []anatomy.Partition{{Content: &anatomy.Content{Type: "ntfs"}}}}
	if BusOf(ntfs, false) != SATA || BusOf(mbr, true) != SATA || BusOf(mbr, false) != Virtio {
		t.Error("the bus is not one that the system knows")
	}
}

// TestStartWithout holds what is said where QEMU is missing, and that nothing is left behind where it fails.
func TestStartWithout(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	if _, err := Start(t.Context(), Options{QEMU: "no-such-qemu", Firmware: BIOS, Bus: SATA}); !errors.Is(err, ErrNoQEMU) {
		t.Errorf("no QEMU: %v", err)
	}
	fake := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho no such machine >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{QEMU: fake, Firmware: BIOS, Bus: SATA}); err == nil || !strings.Contains(err.Error(), "no such machine") {
		t.Errorf("a QEMU that fails: %v", err)
	}
	if _, err := Start(t.Context(), Options{QEMU: fake, Firmware: BIOS, Bus: "floppy"}); err == nil {
		t.Error("a disk on a floppy")
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
