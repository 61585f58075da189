//go:build unix

package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestInterruptedCommand checks that Ctrl-C ends what --source-command runs, wherever it is, also one that ignores
// signals.
func TestInterruptedCommand(t *testing.T) {
	for name, command := range map[string]string{
		"silent":    "echo $$ >pid; exec sleep 1000",
		"stubborn":  "trap '' INT; echo $$ >pid; while :; do sleep 0.1; done",
		"after all": "echo disk; exec >&-; echo $$ >pid; exec sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			p := s.start(nil, "backup", "--source-command", command, "--name", "disk")
			pid := 0
			waitFor(t, "the command", func() bool {
				data, err := os.ReadFile(s.path("pid"))
				pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
				return err == nil && pid != 0
			})
			p.interrupt()
			waitFor(t, "its end", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
			if list := s.snapshots(); len(list) != 0 {
				t.Errorf("it left %v", list)
			}
		})
	}
}
