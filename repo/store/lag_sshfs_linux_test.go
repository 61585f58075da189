package store

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// sftpServer is the path of the SFTP server on Debian.
const sftpServer = "/usr/lib/openssh/sftp-server"

// mountSSHFS mounts a folder over the SFTP protocol, with an sshfs that caches listings for five minutes.
func mountSSHFS(t *testing.T, folder string) (mounted string) {
	t.Helper()
	for _, tool := range []string{"sshfs", "fusermount3", sftpServer} {
		if _, err := exec.LookPath(tool); err != nil {
			oracle.Lacking(t, "%v", err)
		}
	}
	mounted = t.TempDir()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]*os.File{os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "client")}
	server := exec.Command(sftpServer)
	client := exec.Command("sshfs", "-f", "-o", "passive", "-o", "dcache_timeout=300", "x:"+folder, mounted)
	for i, cmd := range []*exec.Cmd{server, client} {
		cmd.Stdin, cmd.Stdout = ends[i], ends[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ends[i].Close()
		t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	}
	t.Cleanup(func() { _ = exec.Command("fusermount3", "-u", "-z", mounted).Run() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var s syscall.Statfs_t
		if syscall.Statfs(mounted, &s) == nil && int64(s.Type) == unix.FUSE_SUPER_MAGIC {
			return mounted
		}
		if time.Now().After(deadline) {
			t.Fatal("sshfs does not mount")
		}
	}
}

// TestRefreshOnSSHFS checks that a real sshfs shows an old listing, and a current one after Refresh.
func TestRefreshOnSSHFS(t *testing.T) {
	ctx := context.Background()
	folder := t.TempDir()
	direct := openLocal(t, folder, nil)
	if err := direct.Put(ctx, "snapshots/first", []byte("1")); err != nil {
		t.Fatal(err)
	}
	far := openLocal(t, mountSSHFS(t, folder), nil)
	if lag := far.Lag(); lag != (Lag{Time: time.Minute}) {
		t.Errorf("it lags by %+v", lag)
	}
	listed := func() (n int) {
		for _, err := range far.List(ctx, "snapshots") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if n := listed(); n != 1 {
		t.Fatalf("%d files at first", n)
	}
	if err := direct.Put(ctx, "snapshots/second", []byte("2")); err != nil {
		t.Fatal(err)
	}
	if n := listed(); n != 1 {
		t.Errorf("%d files, though listings are remembered: this test shows nothing", n)
	}
	if err := far.Refresh(ctx, "snapshots"); err != nil {
		t.Fatal(err)
	}
	if n := listed(); n != 2 {
		t.Errorf("%d files after Refresh", n)
	}
	if err := far.Refresh(ctx, "nothing"); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}
