package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
)

// shell returns a command line, ready to run. cmd takes the line as it is typed: the quotes and backslashes that os/exec
// puts around arguments mean something else to it.
func shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: "cmd /C " + line}
	cmd.Env = withoutSecrets(os.Environ())
	return cmd
}

// endProcess ends a process: there is no asking.
func endProcess(p *os.Process) error { return p.Kill() }

// shield is what protects a command line from Ctrl-C: nothing here.
const shield = ""
