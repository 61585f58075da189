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

// shield, put before a command line, makes it survive a closed terminal and Ctrl-C, which reach all processes on the terminal.
const shield = "trap '' HUP INT QUIT; "
