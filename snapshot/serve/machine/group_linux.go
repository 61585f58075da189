package machine

import "syscall"

// ownGroup keeps Ctrl-C on the terminal from QEMU, which would end at once instead of shutting its guest down. It ends with
// this process, even if that is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
