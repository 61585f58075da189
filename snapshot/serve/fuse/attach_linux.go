package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	fusermount = "fusermount3"
	subtype    = "platter"
	maxRequest = 1 << 20 // bytes; the largest read and write, and the most that the kernel allows
)

// attach mounts a new FUSE connection on a folder and returns its file descriptor.
func attach(ctx context.Context, dir string, opts Options) (fd int, err error) {
	if os.Geteuid() == 0 {
		return attachDirectly(dir, opts)
	}
	return attachByHelper(ctx, dir, opts)
}

// attachDirectly mounts with a system call.
func attachDirectly(dir string, opts Options) (fd int, err error) {
	fd, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/fuse: %w", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME)
	if !opts.Writable {
		flags |= unix.MS_RDONLY
	}
	data := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,max_read=%d,default_permissions",
		fd, unix.S_IFDIR, os.Geteuid(), os.Getegid(), maxRequest)
	if opts.AllowOther {
		data += ",allow_other"
	}
	err = unix.Mount(opts.Name, dir, "fuse."+subtype, flags, data)
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	if errors.Is(err, unix.EPERM) {
		return -1, fmt.Errorf("%w: %w; %s", ErrNoRight, err, inContainer)
	}
	return -1, err
}

// attachByHelper has fusermount3 mount, which is set-user-ID root. It sends the file descriptor over a socket.
func attachByHelper(ctx context.Context, dir string, opts Options) (fd int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a pair of sockets: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	escape := strings.NewReplacer(`\`, `\\`, `,`, `\,`)
	options := []string{
		"nosuid", "nodev", "noexec", "noatime", "default_permissions", "max_read=" + strconv.Itoa(maxRequest),
		"fsname=" + escape.Replace(opts.Name), "subtype=" + subtype,
	}
	if !opts.Writable {
		options = append(options, "ro")
	}
	if opts.AllowOther {
		options = append(options, "allow_other")
	}
	if err := runHelper(ctx, theirs, "-o", strings.Join(options, ","), "--", dir); err != nil {
		return -1, err
	}
	if fd, err = receive(ours); err != nil {
		return -1, errors.Join(err, detach(dir, true))
	}
	return fd, nil
}

// receive returns the file descriptor that fusermount3 has sent.
func receive(socket *os.File) (fd int, err error) {
	var data [4]byte
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), data[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("read what %s sends: %w", fusermount, err)
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err == nil && len(messages) == 1 {
		fds, err = unix.ParseUnixRights(&messages[0])
	}
	if err != nil {
		return -1, fmt.Errorf("read what %s sends: %w", fusermount, err)
	}
	if len(fds) != 1 {
		return -1, fmt.Errorf("%s sent no file descriptor", fusermount)
	}
	return fds[0], nil
}

// runHelper runs fusermount3. What it prints becomes the error.
func runHelper(ctx context.Context, socket *os.File, args ...string) error {
	path, err := lookPath(fusermount)
	if err != nil {
		return ErrNoFusermount
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if socket != nil {
		cmd.ExtraFiles = []*os.File{socket}
		cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	}
	err = cmd.Run()
	said := strings.TrimPrefix(strings.TrimSpace(printed.String()), fusermount+": ")
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case said == "":
		return fmt.Errorf("%s: %w", fusermount, err)
	case strings.Contains(said, "ermission") || strings.Contains(said, "no write access"):
		return fmt.Errorf("%w: %s", ErrNoRight, said)
	}
	return fmt.Errorf("%s: %s", fusermount, said)
}

// detach unmounts a folder. If it is in use, lazy only takes it out of sight, until it is not used any more.
func detach(dir string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		return unix.Unmount(dir, flags)
	}
	args := []string{"-u", "--", dir}
	if lazy {
		args[0] = "-uz"
	}
	return runHelper(context.Background(), nil, args...)
}

// abort cuts a FUSE connection. Everything that is open there fails from now on.
func abort(dev uint64) error {
	name := strconv.FormatUint(uint64(unix.Minor(dev))|uint64(unix.Major(dev))<<20, 10) + "/abort"
	err := os.WriteFile("/sys/fs/fuse/connections/"+name, []byte("1"), 0)
	if err == nil {
		return nil
	}
	// The control file system is not mounted there. Root can use it without mounting it anywhere.
	control, errno := unix.Fsopen("fusectl", unix.FSOPEN_CLOEXEC)
	if errno != nil {
		return err
	}
	defer unix.Close(control)
	if unix.FsconfigCreate(control) != nil {
		return err
	}
	root, errno := unix.Fsmount(control, unix.FSMOUNT_CLOEXEC, 0)
	if errno != nil {
		return err
	}
	defer unix.Close(root)
	fd, err := unix.Openat(root, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s of fusectl: %w", name, err)
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("1"))
	return err
}
