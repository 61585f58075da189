package machine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// CheckOptions say what counts as booted.
type CheckOptions struct {
	Expect     string        // text on the console; "" for a login prompt or an answer of the guest agent
	Timeout    time.Duration // after which the check has failed
	Screenshot string        // a PNG file of what the machine shows at the end; "" for none
}

// A Result is what a check found.
type Result struct {
	Passed bool
	Reason string // what was seen, for people
	Took   time.Duration
}

// ready are the signs that a system is up. They match a console's text without its escape sequences.
var ready = []sign{
	{regexp.MustCompile(`(?m)^.{0,80}\blogin: ?$`), "a login prompt"},
}

// failed are the signs that a system will not come up.
var failed = []sign{
	{regexp.MustCompile(`Kernel panic - not syncing`), "a kernel panic"},
	{regexp.MustCompile(`You are in emergency mode|Give root password for maintenance|Entering emergency mode`), "an emergency shell"},
	{regexp.MustCompile(`(?m)^\(initramfs\)|^dracut:/#|Dropping to a shell|Gave up waiting for root`), "a shell in the initramfs: it did not find its root file system"},
	{regexp.MustCompile(`grub rescue>|(?m)^grub> `), "a boot loader that does not go on"},
	{regexp.MustCompile(`No bootable device|not a bootable disk|No bootable option or device|UEFI Interactive Shell|Missing operating system|Operating System not found|Non-System disk`), "firmware that finds nothing to boot"},
	{regexp.MustCompile(`BOOTMGR is missing|An operating system wasn't found|Your PC/Device needs to be repaired`), "a boot manager that does not go on"},
}

// A sign is a text and what it means.
type sign struct {
	text  *regexp.Regexp
	means string
}

// lookEvery is how often a check looks at the machine.
const lookEvery = 500 * time.Millisecond

// Check watches a machine until it is known whether its disk boots. The console, the text screen and the guest agent
// count. That a disk does not boot is a Result. An error says that this could not be found out: ctx ended, or QEMU failed.
func (m *Machine) Check(ctx context.Context, o CheckOptions) (r Result, err error) {
	start := time.Now()
	defer func() { r.Took = time.Since(start) }()
	if o.Screenshot != "" {
		defer func() { _ = m.Screenshot(o.Screenshot) }()
	}
	pass := ready
	answers := make(chan struct{}, 1)
	if o.Expect != "" {
		pass = []sign{{regexp.MustCompile(regexp.QuoteMeta(o.Expect)), fmt.Sprintf("%q on the console", o.Expect)}}
	} else {
		asking, stop := context.WithCancel(ctx)
		defer stop()
		m.tasks.Go(func() { m.askAgent(asking, answers) })
	}
	late := time.NewTimer(o.Timeout)
	defer late.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		text := m.console.text() + "\n" + m.screen()
		if s := find(pass, text); s != "" {
			return Result{Passed: true, Reason: s}, nil
		}
		if s := find(failed, text); s != "" {
			return Result{Reason: s}, nil
		}
		select {
		case <-answers:
			return Result{Passed: true, Reason: "an answer of the guest agent"}, nil
		case <-tick.C:
		case <-late.C:
			return Result{Reason: fmt.Sprintf("no sign of a running system after %v%s", o.Timeout, lastLine(text))}, nil
		case <-m.done:
			if m.err != nil {
				return Result{}, fmt.Errorf("the machine failed: %w", m.err)
			}
			return Result{Reason: "the machine was switched off or restarted by its system" + lastLine(text)}, nil
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		}
	}
}

// find returns what the first sign in a text means; "" if there is none.
func find(signs []sign, text string) string {
	for _, s := range signs {
		if s.text.MatchString(text) {
			return s.means
		}
	}
	return ""
}

// lastLine says what was printed last.
func lastLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" {
			return fmt.Sprintf("; the last line was %.200q", line)
		}
	}
	return "; the console is empty"
}

// askAgent asks the guest agent whether it is there, until it answers. The machine's end closes the connection.
func (m *Machine) askAgent(ctx context.Context, answers chan<- struct{}) {
	defer context.AfterFunc(ctx, func() { _ = m.agent.SetDeadline(time.Now()) })()
	heard := make(chan struct{})
	m.tasks.Go(func() {
		defer close(heard)
		var got []byte
		for buf := make([]byte, 512); len(got) < 1<<16; {
			n, err := m.agent.Read(buf)
			if got = append(got, buf[:n]...); bytes.Contains(got, []byte(`"return"`)) {
				answers <- struct{}{}
				return
			}
			if err != nil {
				return
			}
		}
	})
	ask := time.NewTicker(5 * time.Second)
	defer ask.Stop()
	for {
		if _, err := io.WriteString(m.agent, `{"execute":"guest-ping"}`+"\n"); err != nil {
			return
		}
		select {
		case <-ask.C:
		case <-heard:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Where a PC's text screen is in its memory: two bytes a character, the second of them its colour.
const (
	screenAt  = 0xb8000
	screenLen = 2 * 80 * 25
)

// screen returns the text that the machine shows in text mode; in other modes it is "" or meaningless.
func (m *Machine) screen() string {
	path := filepath.Join(m.folder, "screen")
	if m.qmp.run("pmemsave", map[string]any{"val": screenAt, "size": screenLen, "filename": path}, nil) != nil {
		return ""
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return screenText(data)
}

func screenText(data []byte) string {
	var out strings.Builder
	for at := 0; at+1 < len(data); at += 2 {
		if c := data[at]; c >= ' ' && c < 0x7f {
			out.WriteByte(c)
		} else {
			out.WriteByte(' ')
		}
		if at%160 == 158 {
			out.WriteByte('\n')
		}
	}
	lines := strings.Split(out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// A console keeps the end of what a machine prints, and passes all of it on. It is safe for concurrent use.
type console struct {
	to io.Writer // nil for nowhere

	mu   sync.Mutex
	data []byte
}

// maxConsole is how much text is kept to look for signs, in bytes.
const maxConsole = 64 << 10

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = append(c.data, p...)
	if over := len(c.data) - maxConsole; over > maxConsole/2 {
		c.data = append(c.data[:0], c.data[over:]...)
	}
	if c.to != nil {
		_, _ = c.to.Write(p) // a console that cannot be shown is no reason to stop the machine
	}
	return len(p), nil
}

// escapes are the sequences with which a console moves its cursor and sets colours.
var escapes = regexp.MustCompile("\x1b(\\[[0-9;?=]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78cDEHMNOZ]|\\][^\x07\x1b]*(\x07|\x1b\\\\))|\r|\x00")

// text returns what was printed last, without escape sequences.
func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return escapes.ReplaceAllString(string(c.data), "")
}
