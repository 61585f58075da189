package fuse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image"
)

// children are what this test program can be instead, by the value of FUSE_TEST_CHILD.
var children = map[string]func(){"serve": serveChild, "watch": watchChild}

// testName is what this program's mounts are called.
func testName(pid int) string { return fmt.Sprintf("platter-test-%d", pid) }

// watch starts a process that cuts off this program's mounts when it ends. A thread that waits for an answer from its
// own process cannot be killed, and would keep a program that panics or times out from ending, for ever.
func watch() (end func(), err error) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "FUSE_TEST_CHILD=watch")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	}, nil
}

func watchChild() {
	parent := testName(os.Getppid())
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		os.Exit(1)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[0] == parent {
			if st, err := stat(fields[1], unix.AT_STATX_DONT_SYNC); err == nil {
				_ = abort(unix.Mkdev(st.Dev_major, st.Dev_minor))
			}
			_ = detach(fields[1], true)
		}
	}
	os.Exit(0)
}

// serveChild mounts $FUSE_TEST_DIR, says so, and unmounts it when its standard input ends. An error is its last line.
func serveChild() {
	c := newShelf()
	c.add("disk", Version{ID: "v", Time: noon}, of("disk.img", image.Mem{Data: []byte("served by a child\n")}))
	s, err := Mount(context.Background(), os.Getenv("FUSE_TEST_DIR"), c, Options{Name: "a,b\\c", AllowOther: os.Getenv("FUSE_TEST_OTHERS") != ""})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("mounted")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	if err := s.Wait(ctx); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A child is a process that has mounted a folder.
type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start runs this program as a child. The first line that it prints is what it says.
func start(t testing.TB, user *syscall.Credential, program, name string, env ...string) (c *child, says string) {
	t.Helper()
	c = &child{Cmd: exec.Command(program)}
	c.Env = append(append(os.Environ(), "FUSE_TEST_CHILD="+name), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: user, Pdeathsig: syscall.SIGKILL}
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	c.out = bufio.NewReader(out)
	says, err = c.out.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return c, strings.TrimSpace(says)
}

// end lets the child unmount, and returns the rest of what it says.
func (c *child) end(t testing.TB) string {
	t.Helper()
	if err := c.in.Close(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c.out)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(rest))
}
