package machine

import "syscall"

// ownGroup keeps Ctrl-C on the terminal from QEMU, which would end at once instead of shutting its guest down.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
