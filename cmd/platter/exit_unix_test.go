//go:build unix

package main

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startHang starts the program hang (see TestMain) and returns what it prints.
func startHang(t *testing.T) (*exec.Cmd, *bufio.Reader, *strings.Builder) {
	cmd := exec.Command("hang")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "started\n" {
		t.Fatalf("it began with %q, %v", line, err)
	}
	return cmd, lines, &stderr
}

func TestHangingCommandEndsSoonAfterSignal(t *testing.T) {
	for _, sig := range endings {
		cmd, lines, stderr := startHang(t)
		start := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(lines)
		_ = cmd.Wait()
		if took := time.Since(start); took > 5*time.Second { // 0.9 s, but test machines can be very busy
			t.Errorf("%v: it took %v", sig, took)
		}
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("%v: exit code %d", sig, code)
		}
		if string(rest) != "stopping\n" || stderr.String() != "platter: interrupted\n" {
			t.Errorf("%v: printed %q and %q", sig, rest, stderr)
		}
	}
}

func TestSecondSignalKills(t *testing.T) {
	cmd, lines, _ := startHang(t)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if line, err := lines.ReadString('\n'); line != "stopping\n" {
		t.Fatalf("it went on with %q, %v", line, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	again := time.NewTicker(time.Millisecond) // the first may come before the default action is back
	defer again.Stop()
	for {
		select {
		case <-again.C:
			_ = cmd.Process.Signal(syscall.SIGINT)
		case <-ended:
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
				t.Errorf("it ended with %v, not by the signal", cmd.ProcessState)
			}
			return
		}
	}
}
