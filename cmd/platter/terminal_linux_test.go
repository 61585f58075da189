package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// openPty returns both ends of a new terminal: who types and reads there, and what a program sees.
func openPty(t *testing.T) (user, terminal *os.File) {
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		oracle.Lacking(t, "no terminal to be had: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		oracle.Lacking(t, "no terminal to be had: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return user, terminal
}

func echoes(t *testing.T, terminal *os.File) bool {
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Error(err) // no Fatal: other goroutines than the test's ask, too
		return false
	}
	return state.Lflag&unix.ECHO != 0
}

// waitForSilence returns once the terminal does not show what is typed.
func waitForSilence(t *testing.T, terminal *os.File) {
	for echoes(t, terminal) {
		runtime.Gosched()
	}
}

func TestReadHidden(t *testing.T) {
	user, terminal := openPty(t)
	go func() {
		waitForSilence(t, terminal)
		fmt.Fprint(user, "secret\n")
	}()
	line, err := readHidden(context.Background(), terminal, terminal, "Password: ")
	if string(line) != "secret" || err != nil || !echoes(t, terminal) {
		t.Fatalf("got %q, %v; echo is on: %v", line, err, echoes(t, terminal))
	}
	seen := make([]byte, 1000)
	n, _ := user.Read(seen)
	if got := string(seen[:n]); !strings.HasPrefix(got, "Password: ") || strings.Contains(got, "secret") {
		t.Errorf("the terminal showed %q", got)
	}
}

func TestReadHiddenInterrupted(t *testing.T) {
	_, terminal := openPty(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	signal := errors.New("signal")
	go func() {
		waitForSilence(t, terminal)
		cancel(signal)
	}()
	if line, err := readHidden(ctx, terminal, terminal, "Password: "); line != nil || !errors.Is(err, signal) {
		t.Errorf("got %q, %v", line, err)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal was left without echo")
	}
	if _, err := readHidden(ctx, terminal, terminal, "Password: "); !errors.Is(err, signal) {
		t.Errorf("asked after the signal: %v", err)
	}
}
