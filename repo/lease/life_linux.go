package lease

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// thisBoot names the space in which process IDs are valid: one boot of this machine, and one container on it. It is ""
// if that cannot be found out.
func thisBoot() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + space
}

// isDead reports whether no process has that ID.
func isDead(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
