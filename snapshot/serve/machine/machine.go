// Package machine runs a disk in a virtual machine, with the QEMU that is installed, and finds out whether it boots.
//
// The machine gets its disk as an NBD export, so nothing is restored first. It has no network unless that is asked for.
// Package machine knows nothing of repositories.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Firmware is what starts the machine.
type Firmware string

// The kinds of firmware.
const (
	BIOS Firmware = "bios"
	UEFI Firmware = "uefi"
)

// Bus is what the disk is attached to.
type Bus string

// The kinds of bus. Every system boots from SATA; virtio is faster, and needs a driver in the guest.
const (
	SATA   Bus = "sata"
	Virtio Bus = "virtio"
	NVMe   Bus = "nvme"
)

// Options describe a machine.
type Options struct {
	QEMU     string // the program; "" for qemu-system-x86_64
	Socket   string // the Unix socket of the NBD server
	Export   string // the name of the export
	ReadOnly bool
	Firmware Firmware
	Bus      Bus
	Memory   int64 // of the machine, bytes
	CPUs     int
	Net      bool // the machine can reach the network, through the user's own
	Headless bool // without a window
	Args     []string
	Console  io.Writer // gets what the machine prints on its serial port; nil for nowhere
}

// ErrNoQEMU says that QEMU is not installed.
var ErrNoQEMU = errors.New("QEMU is not installed: install qemu-system-x86 (Debian, Ubuntu) or qemu-kvm (Fedora), or name the program with --qemu")

// A Machine is running. The caller must Close it.
type Machine struct {
	cmd    *exec.Cmd
	folder string // of sockets
	stderr tail
	done   chan struct{} // closed when QEMU has ended and everything it printed was read
	err    error         // how it ended; valid once done is closed

	qmp     *qmp
	agent   net.Conn
	console *console
	tasks   sync.WaitGroup
}

// connectWithin is how long QEMU may take to connect to our sockets.
const connectWithin = 30 * time.Second

// Start starts a machine. It ends when its guest powers it off, when ctx ends, or by Close. The error wraps ErrNoQEMU or
// ErrNoUEFI if that is missing.
func Start(ctx context.Context, o Options) (*Machine, error) {
	program, err := exec.LookPath(orDefault(o.QEMU, "qemu-system-x86_64"))
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoQEMU, err)
	}
	hardware := map[string]string{"linux": "kvm:tcg", "darwin": "hvf:tcg", "windows": "whpx:tcg"}[runtime.GOOS]
	if hardware != "" {
		// Hardware acceleration may be present and not work, in a virtual machine for example. QEMU then ends at once.
		if m, err := start(ctx, program, hardware, o); err == nil || ctx.Err() != nil || errors.Is(err, ErrNoUEFI) {
			return m, err
		}
	}
	return start(ctx, program, "tcg", o)
}

func start(ctx context.Context, program, accel string, o Options) (m *Machine, err error) {
	folder, err := os.MkdirTemp("", "platter-boot-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	m = &Machine{folder: folder, done: make(chan struct{}), console: &console{to: o.Console}}
	args, err := o.args(folder, accel)
	if err != nil {
		return nil, err
	}
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	for _, name := range []string{"qmp", "console", "agent"} {
		l, err := net.Listen("unix", filepath.Join(folder, name))
		if err != nil {
			return nil, fmt.Errorf("start a machine: %w", err)
		}
		listeners = append(listeners, l)
	}
	m.cmd = exec.CommandContext(ctx, program, args...)
	m.cmd.Stderr, m.cmd.SysProcAttr = &m.stderr, ownGroup()
	m.cmd.WaitDelay = 5 * time.Second
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	m.tasks.Go(m.wait)
	conns, err := m.connected(ctx, listeners)
	if err != nil {
		_ = m.cmd.Process.Kill()
		m.tasks.Wait()
		return nil, err
	}
	m.agent = conns[2]
	m.tasks.Go(func() { _, _ = io.Copy(m.console, conns[1]) })
	if m.qmp, err = newQMP(conns[0]); err != nil {
		closed := m.Close()
		return nil, errors.Join(fmt.Errorf("QEMU did not start: %w", orIf(m.err, err)), closed)
	}
	return m, nil
}

// wait waits for QEMU to end.
func (m *Machine) wait() {
	m.err = m.cmd.Wait()
	if text := m.stderr.String(); m.err != nil && text != "" {
		m.err = fmt.Errorf("%w: %s", m.err, text)
	}
	close(m.done)
}

// connected waits until QEMU has connected to every listener.
func (m *Machine) connected(ctx context.Context, listeners []net.Listener) (conns []net.Conn, err error) {
	defer func() {
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
		}
	}()
	accepted := make(chan net.Conn)
	for _, l := range listeners {
		go func() {
			c, err := l.Accept()
			if err != nil {
				c = nil
			}
			accepted <- c
		}()
		select {
		case c := <-accepted:
			conns = append(conns, c)
			continue
		case <-m.done:
			err = fmt.Errorf("QEMU did not start: %w", orIf(m.err, errors.New("it ended")))
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-time.After(connectWithin):
			err = errors.New("QEMU does not answer")
		}
		l.Close()
		if c := <-accepted; c != nil {
			c.Close()
		}
		return conns, err
	}
	return conns, nil
}

// Done is closed when the machine has ended.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Err returns why the machine failed; nil if it was powered off, or is still running.
func (m *Machine) Err() error {
	select {
	case <-m.done:
		return m.err
	default:
		return nil
	}
}

// PowerDown presses the power button. A guest that listens to it shuts down.
func (m *Machine) PowerDown() error { return m.qmp.run("system_powerdown", nil, nil) }

// Screenshot stores what the machine shows as a PNG file.
func (m *Machine) Screenshot(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	return m.qmp.run("screendump", map[string]any{"filename": path, "format": "png"}, nil)
}

// Close ends the machine at once, if it is still running, and waits for it.
func (m *Machine) Close() error {
	if m.qmp != nil {
		_ = m.qmp.run("quit", nil, nil)
	}
	select {
	case <-m.done:
	case <-time.After(5 * time.Second):
		_ = m.cmd.Process.Kill()
	}
	<-m.done
	if m.qmp != nil {
		m.qmp.close()
	}
	if m.agent != nil {
		m.agent.Close()
	}
	m.tasks.Wait()
	return os.RemoveAll(m.folder)
}

// args are QEMU's arguments.
func (o Options) args(folder, accel string) ([]string, error) {
	socket := func(id string) string { return "socket,id=" + id + ",path=" + escaped(filepath.Join(folder, id)) }
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-machine", "q35,accel=" + accel, "-cpu", "max",
		"-m", strconv.FormatInt(max(o.Memory>>20, 16), 10), "-smp", strconv.Itoa(max(o.CPUs, 1)), "-rtc", "base=utc",
		"-vga", "std", "-device", "virtio-rng-pci",
		"-chardev", socket("qmp"), "-mon", "chardev=qmp,mode=control",
		"-chardev", socket("console"), "-serial", "chardev:console",
		"-chardev", socket("agent"), "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-blockdev", "driver=nbd,node-name=disk,discard=unmap,read-only=" + onOff(o.ReadOnly) + ",server.type=unix,server.path=" + escaped(o.Socket) + ",export=" + escaped(o.Export),
	}
	device, ok := map[Bus]string{SATA: "ide-hd,drive=disk", Virtio: "virtio-blk-pci,drive=disk", NVMe: "nvme,serial=platter,drive=disk"}[o.Bus]
	if !ok {
		return nil, fmt.Errorf("a disk cannot be attached to %q", o.Bus)
	}
	args = append(args, "-device", device+",bootindex=0")
	if o.Headless {
		args = append(args, "-display", "none")
	} else {
		args = append(args, "-usb", "-device", "usb-tablet")
	}
	if o.Net {
		args = append(args, "-nic", "user")
	} else {
		args = append(args, "-nic", "none")
	}
	firmware, err := o.Firmware.args(folder)
	return append(append(args, firmware...), o.Args...), err
}

// escaped writes a value for an option of QEMU, in which commas are doubled.
func escaped(s string) string { return strings.ReplaceAll(s, ",", ",,") }

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// orIf returns err, or otherwise if there is none.
func orIf(err, otherwise error) error {
	if err == nil {
		return otherwise
	}
	return err
}

// A tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 2000
	t.text = append(t.text, p...)
	t.text = t.text[max(len(t.text)-most, 0):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
