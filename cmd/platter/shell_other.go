//go:build !windows

package main

import (
	"context"
	"os"
	"os/exec"
)

// shell returns a command line, ready to run.
func shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env = withoutSecrets(os.Environ())
	return cmd
}

// endProcess asks a process to end.
func endProcess(p *os.Process) error { return p.Signal(os.Interrupt) }

// shield, put before a command line, lets it go on when the terminal is closed or Ctrl-C is pressed, which reaches all that
// runs there.
const shield = "trap '' HUP INT QUIT; "
