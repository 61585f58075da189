package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"platter/snapshot/image"
)

func TestDeadly(t *testing.T) {
	status := func(state string, pending, shared, blocked, ignored, caught uint64) string {
		return fmt.Sprintf("Name:\tdd\nState:\t%s (x)\nSigQ:\t0/1\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\nSeccomp:\t0\n",
			state, pending, shared, blocked, ignored, caught)
	}
	set := func(s syscall.Signal) uint64 { return 1 << (s - 1) }
	term, usr := set(syscall.SIGTERM), set(syscall.SIGUSR1)
	for _, c := range []struct {
		name, status string
		want         bool
	}{
		{"nothing", "", true},
		{"cut short", status("S", 0, 0, 0, 0, 0)[:80], true},
		{"not a number", status("S", 0, 0, 0, 0, 0)[:30] + "SigPnd:\tx\n", true},
		{"no signal", status("S", 0, 0, 0, 0, 0), false},
		{"dead", status("Z", 0, 0, 0, 0, 0), true},
		{"killed", status("S", set(syscall.SIGKILL), 0, 0, 0, 0), true},
		{"terminated", status("S", 0, term, 0, 0, 0), true},
		{"blocked", status("S", 0, term, term, 0, 0), false},
		{"ignored", status("S", term, 0, 0, term, 0), false},
		{"handled", status("S", usr, 0, 0, 0, usr), false},
		{"one handled, one not", status("S", usr, term, 0, 0, usr), true},
		{"a child ended", status("S", 0, set(syscall.SIGCHLD)|set(syscall.SIGWINCH), 0, 0, 0), false},
		{"stopped", status("S", set(syscall.SIGSTOP), set(syscall.SIGTSTP), 0, 0, 0), false},
		{"a real-time signal", status("S", 1<<63, 0, 0, 0, 0), true},
	} {
		if got := deadly([]byte(c.status)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if !dying(1 << 30) {
		t.Error("a thread that does not exist is not dying")
	}
	if dying(uint32(syscall.Getpid())) {
		t.Error("this program is dying")
	}
}

// TestInterrupts checks that a read ends with its program, and that no other signal makes it fail.
func TestInterrupts(t *testing.T) {
	disk := &damaged{Mem: image.Mem{Data: noise(4096, 1)}, held: make(chan struct{}), reading: make(chan struct{}, 9)}
	path, _ := mountDisk(t, disk, Options{})
	read := func() *exec.Cmd {
		c := exec.Command("dd", "if="+path, "bs=4096", "count=1", "iflag=direct", "status=none")
		c.Stdout = new(bytes.Buffer)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		<-disk.reading
		return c
	}
	signal := func(c *exec.Cmd, s syscall.Signal) {
		if err := c.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	died := func(c *exec.Cmd, of syscall.Signal) {
		t.Helper()
		err := c.Wait() // for ever, if the read does not end
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != of {
			t.Errorf("%v, not %v", err, of)
		}
	}
	first, late := read(), read()
	signal(first, syscall.SIGUSR1) // dd handles it
	signal(late, syscall.SIGUSR1)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL, syscall.SIGQUIT} {
		other := read()
		signal(other, syscall.SIGUSR1)
		signal(other, s)
		died(other, s)
	}
	signal(late, syscall.SIGTERM) // long after the signal that FUSE reported
	died(late, syscall.SIGTERM)
	close(disk.held)
	err := first.Wait()
	if got := first.Stdout.(*bytes.Buffer); err != nil || !bytes.Equal(got.Bytes(), disk.Data) {
		t.Errorf("a read that a signal met: %d bytes, %v", got.Len(), err)
	}
	if n := len(disk.reading); n != 0 { // dd reads again after EINTR
		t.Errorf("%d reads were made again", n)
	}
}

// TestCutOff checks that Close does not wait for a read that hangs.
func TestCutOff(t *testing.T) {
	for range 2 {
		disk := &damaged{Mem: image.Mem{Data: noise(1<<20, 1)}, held: make(chan struct{}), reading: make(chan struct{}, 99)}
		path, s := mountDisk(t, disk, Options{})
		f := open(t, path)
		failed := make(chan error, 1)
		go func() {
			_, err := f.ReadAt(make([]byte, 4096), 0)
			failed <- err
		}()
		<-disk.reading
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-failed; err == nil {
			t.Error("the read did not fail")
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}
