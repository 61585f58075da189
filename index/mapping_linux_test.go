package index

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLocalKinds checks that network file systems, and file systems that may be on a network, are never mapped.
func TestLocalKinds(t *testing.T) {
	for name, kind := range map[string]int64{
		"NFS": unix.NFS_SUPER_MAGIC, "SMB": unix.SMB_SUPER_MAGIC, "CIFS": 0xff534d42, "SMB2": unix.SMB2_SUPER_MAGIC, "FUSE": unix.FUSE_SUPER_MAGIC,
		"9p": unix.V9FS_MAGIC, "Ceph": unix.CEPH_SUPER_MAGIC, "AFS": unix.AFS_SUPER_MAGIC, "AFS of the kernel": unix.AFS_FS_MAGIC, "Coda": unix.CODA_SUPER_MAGIC,
		"Lustre": 0x0bd00bd0, "GPFS": 0x47504653, "GFS2": 0x01161970, "OCFS2": 0x7461636f, "VirtualBox": 0x786f4256, "VMware": 0xbacbacbc,
		"vboxsf, virtiofs and what will be": 0x12345678, "proc": unix.PROC_SUPER_MAGIC,
	} {
		if isLocalKind(kind) {
			t.Errorf("%s counts as local", name)
		}
	}
	for name, kind := range map[string]int64{"ext4": unix.EXT4_SUPER_MAGIC, "btrfs": unix.BTRFS_SUPER_MAGIC, "XFS": unix.XFS_SUPER_MAGIC, "tmpfs": unix.TMPFS_MAGIC} {
		if !isLocalKind(kind) {
			t.Errorf("%s counts as remote", name)
		}
	}
	f, err := os.Open("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isLocal(f) {
		t.Error("/proc counts as local")
	}
}
