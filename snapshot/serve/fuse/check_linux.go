package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A system is what decides whether a folder can be mounted; tests have others.
type system struct {
	device   string // /dev/fuse
	config   string // /etc/fuse.conf
	root     bool   // mounts by itself, without fusermount3
	lookPath func(program string) (string, error)
}

func thisSystem() system {
	return system{device: "/dev/fuse", config: "/etc/fuse.conf", root: os.Geteuid() == 0, lookPath: lookPath}
}

// lookPath finds fusermount3 even if PATH is empty.
func lookPath(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath("/bin/" + program)
	}
	return path, err
}

// check reports what keeps a folder from being mounted, and returns its path from the root on, without links.
func (s system) check(dir string, opts Options) (path string, err error) {
	if err := checkFolder(dir); err != nil {
		return "", fmt.Errorf("mount %s: %w", dir, err)
	}
	if err := s.checkFUSE(opts); err != nil {
		return "", fmt.Errorf("mount %s: %w", dir, err)
	}
	if path, err = filepath.Abs(dir); err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", fmt.Errorf("mount %s: %w", dir, err)
	}
	return path, nil
}

// checkFolder wants an empty folder where nothing is mounted.
func checkFolder(dir string) error {
	st, err := stat(dir, unix.AT_STATX_FORCE_SYNC)
	switch {
	case errors.Is(err, unix.ENOTCONN):
		return fmt.Errorf("%w; end the mount with `fusermount3 -u %s`, or as root with `umount %[2]s`", ErrDeadMount, dir)
	case errors.Is(err, unix.ENOTDIR):
		return ErrNotFolder
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return ErrNotFolder
	case st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0:
		return ErrMounted
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Readdirnames(1); err == nil {
		return ErrNotEmpty
	} else if err != io.EOF {
		return err
	}
	return nil
}

// stat asks for a folder's attributes. With AT_STATX_FORCE_SYNC a mount that is dead is an error. With
// AT_STATX_DONT_SYNC the kernel answers by itself what it knows, even if the file system hangs.
func stat(dir string, flags int) (st unix.Statx_t, err error) {
	mask := unix.STATX_BASIC_STATS
	if flags&unix.AT_STATX_DONT_SYNC != 0 {
		mask = 0
	}
	err = unix.Statx(unix.AT_FDCWD, dir, flags, mask, &st)
	return st, err
}

// checkFUSE wants the device, the right to use it, and what mounts for this user.
func (s system) checkFUSE(opts Options) error {
	f, err := os.OpenFile(s.device, os.O_RDWR, 0)
	switch {
	case err == nil:
		f.Close()
	case errors.Is(err, fs.ErrPermission) && !s.root:
		return fmt.Errorf("%w: %w; let this user read and write it, or mount as root", ErrNoRight, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w; %s", ErrNoRight, err, inContainer)
	default: // it does not exist, or no driver serves it
		return fmt.Errorf("%w: %w", ErrNoFUSE, err)
	}
	if s.root {
		return nil
	}
	if _, err := s.lookPath(fusermount); err != nil {
		return ErrNoFusermount
	}
	if opts.AllowOther && !s.allowsOthers() {
		return ErrAllowOther
	}
	return nil
}

const inContainer = "a container needs the device and the capability (docker: --device /dev/fuse --cap-add SYS_ADMIN)"

// allowsOthers reports whether the configuration has user_allow_other. One that cannot be read is left to fusermount3.
func (s system) allowsOthers() bool {
	config, err := os.ReadFile(s.config)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	for line := range bytes.Lines(config) {
		if string(bytes.TrimSpace(line)) == "user_allow_other" {
			return true
		}
	}
	return false
}
