//go:build unix

package machine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestOwnGroup checks that Ctrl-C on the terminal, which reaches the whole group of this process, does not reach QEMU.
func TestOwnGroup(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\nps -o pgid= -p $$ >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{QEMU: fake, Firmware: BIOS, Bus: SATA})
	if err == nil {
		t.Fatal("it started")
	}
	words := strings.Fields(err.Error())
	group, parsed := strconv.Atoi(words[len(words)-1])
	if parsed != nil || group == syscall.Getpgrp() {
		t.Errorf("QEMU is in group %d, and this process in %d: %v", group, syscall.Getpgrp(), err)
	}
}
