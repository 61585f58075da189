package store

import (
	"os"
	"testing"
	"time"
)

// TestLag checks that listings of a folder on this machine are current, and that an unknown file system counts as
// remote.
func TestLag(t *testing.T) {
	if lag := openLocal(t, t.TempDir(), nil).Lag(); lag != (Lag{}) {
		t.Errorf("a folder of this machine lags by %v", lag)
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		if lag := openLocal(t, "/proc", nil).Lag(); lag.Time < time.Minute {
			t.Error("an unknown file system does not lag")
		}
	}
}

// TestLagOfMounts reads mount tables as Linux 6.1 shows them.
func TestLagOfMounts(t *testing.T) {
	const table = `22 28 0:21 / /proc rw,nosuid - proc proc rw
30 28 0:30 / /mnt/nas rw,relatime shared:1 - nfs4 nas:/pool rw,vers=4.2,rsize=1048576,hard,proto=tcp,sec=sys
31 28 0:31 / /mnt/slow rw - nfs nas:/pool rw,vers=3,acregmin=300,acregmax=300,acdirmin=300,acdirmax=300,hard
32 28 0:32 / /mnt/quick rw - nfs nas:/pool rw,vers=3,acdirmin=1,acdirmax=1,noac
33 28 0:33 / /mnt/smb rw - cifs //nas/pool rw,vers=3.1.1,actimeo=600
34 28 0:34 / /mnt/far rw - fuse.sshfs nas:/pool rw,user_id=0
35 28 0:35 / /mnt/cloud rw - fuse.rclone remote: rw,user_id=0
36 28 8:17 / /mnt/stick rw - fuseblk /dev/sdb1 rw,user_id=0
37 28 0:37 / /mnt/odd\040name rw master:3 propagate_from:2 - fuse x rw
38 28 0:38 / /mnt/9 rw - 9p host rw,trans=virtio
39 28 0:39 / /mnt/union rw - fuse.mergerfs a:b rw`
	for _, c := range []struct {
		device string
		fuse   bool
		want   Lag
	}{
		{"0:30", false, Lag{Time: time.Minute}},
		{"0:31", false, Lag{Time: 5 * time.Minute}},
		{"0:32", false, Lag{Time: time.Minute}}, // other machines may have longer times
		{"0:33", false, Lag{Time: 10 * time.Minute}},
		{"0:34", true, Lag{Time: time.Minute}},
		{"0:35", true, Lag{Unknown: "fuse.rclone"}},
		{"8:17", true, Lag{}},
		{"0:37", true, Lag{Unknown: "fuse"}},
		{"0:38", false, Lag{Time: time.Minute}},
		{"0:39", true, Lag{Time: time.Minute}},
		{"9:99", true, Lag{Unknown: "fuse"}},
		{"9:99", false, Lag{Time: time.Minute}},
	} {
		if got := findMount(table, c.device).lag(c.fuse); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.device, got, c.want)
		}
	}
}
