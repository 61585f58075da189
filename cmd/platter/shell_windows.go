package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
)

// shell returns a command line, ready to run. It passes the line to cmd unchanged: the quotes and backslashes that
// os/exec adds mean something else to cmd.
func shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: "cmd /C " + line}
	cmd.Env = withoutSecrets(os.Environ())
	return cmd
}

// endProcess kills a process: Windows has no signal that asks it to end.
func endProcess(p *os.Process) error { return p.Kill() }

// shield is empty: here, nothing protects a command line from Ctrl-C.
const shield = ""
