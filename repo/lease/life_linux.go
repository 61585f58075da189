package lease

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// thisBoot names the space in which process ids mean something: this machine since it was started, and this container of it.
// It is "" where that cannot be found out.
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

// isDead reports whether there is no process of that id.
func isDead(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
