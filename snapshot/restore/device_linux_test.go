package restore

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"platter/chunk"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
	"platter/snapshot/snapshottest"
)

// loopDevice returns the node of a device that holds data, with this sector size in bytes.
func loopDevice(t testing.TB, data []byte, sector int, more ...string) string {
	t.Helper()
	return oracle.Loop(t, snapshottest.WriteFile(t, data), append(more, "--sector-size", fmt.Sprint(sector))...)
}

// onDevice reads all of a device, without its cached pages.
func onDevice(t testing.TB, node string) []byte {
	t.Helper()
	oracle.Run(t, "blockdev", "--flushbufs", node)
	data, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// toDevice makes a plan, restores onto a device, and checks that the plan was right.
func toDevice(t testing.TB, r *repo.Repo, snap *snapshot.Snapshot, part snapshot.Part, node string, o Options, fo FitOptions) (*Result, *Fit) {
	t.Helper()
	look, err := OpenDevice(node, DeviceOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	before := onDevice(t, node)
	fit, err := FitOnto(t.Context(), r, snap, part, look, fo)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := PlanDevice(t.Context(), r, snap, fit, look, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := look.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(onDevice(t, node), before) {
		t.Fatal("making a plan wrote to the device")
	}
	d, err := OpenDevice(node, DeviceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	done, err := ToDevice(t.Context(), r, snap, fit, d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Differ != done.Differed.Load() || done.Written.Load() > plan.Differ || plan.Right != done.Right.Load() || plan.Zero != done.Zeroed.Load() {
		t.Errorf("the plan was %+v, and then %d differed, %d were right, %d zeroed", plan, done.Differed.Load(), done.Right.Load(), done.Zeroed.Load())
	}
	if (plan.Fetch > 0) != (plan.Differ > 0) || plan.Time <= 0 {
		t.Errorf("the plan is %+v", plan)
	}
	return done, fit
}

// TestDevice restores disks of odd sizes onto devices with other content, and then onto a partly overwritten disk.
func TestDevice(t *testing.T) {
	for i, sector := range []int{512, 4096, 512, 4096} {
		size := []int{9<<20 + 4096, diskmap.RegionSize + 3<<20, 5<<20 + 512 + 77, 8<<20 + 4095}[i]
		t.Run(fmt.Sprintf("%d/%d", sector, size), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(i), 41))
			disk := pitted(rnd, snapshottest.RandomDisk(rnd, size))
			s := new(store.Mem)
			snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
			r := snapshottest.Reopen(t, s)
			old := bytes.Repeat([]byte{0xff}, (size+4095)/4096*4096+i%2*(1<<20))
			node := loopDevice(t, old, sector)

			want := append(bytes.Clone(disk), old[len(disk):]...)
			done, fit := toDevice(t, r, snap, snap.Whole(), node, Options{Verify: true}, FitOptions{})
			if got := onDevice(t, node); !bytes.Equal(got, want) {
				t.Fatalf("the device is not the disk, and what was after it")
			}
			if fit.Left != int64(len(old)-size) || done.Verified.Load() != snap.Stats.Data {
				t.Errorf("%d bytes are left, %d of %d proved", fit.Left, done.Verified.Load(), snap.Stats.Data)
			}
			if done, _ := toDevice(t, r, snap, snap.Whole(), node, Options{}, FitOptions{}); done.Written.Load()+done.Zeroed.Load() != 0 {
				t.Errorf("all was right, and it wrote %d bytes and zeroed %d", done.Written.Load(), done.Zeroed.Load())
			}
			scribble(t, rnd, node, size/100)
			done, _ = toDevice(t, r, snap, snap.Whole(), node, Options{Verify: true}, FitOptions{})
			if wrote := done.Written.Load() + done.Zeroed.Load(); wrote == 0 || wrote > int64(size/100)+3*chunk.Block {
				t.Errorf("%d bytes were scribbled over, and it wrote %d", size/100, wrote)
			}
			done, _ = toDevice(t, r, snap, snap.Whole(), node, Options{Verify: true, WipeRest: true}, FitOptions{})
			if got := onDevice(t, node); !bytes.Equal(got, append(bytes.Clone(disk), make([]byte, len(old)-size)...)) {
				t.Error("what is after the disk is not zero")
			}
			if done.Zeroed.Load() != fit.Left {
				t.Errorf("%d bytes of %d were zeroed", done.Zeroed.Load(), fit.Left)
			}
		})
	}
}

// scribble writes n bytes of noise to a random place on a device.
func scribble(t *testing.T, rnd *rand.Rand, node string, n int) {
	t.Helper()
	f, err := os.OpenFile(node, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		noise := bytes.Repeat([]byte("scribble"), n/8+1)
		_, err = f.WriteAt(noise[:n], rnd.Int64N(size/2-int64(n)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDevicePart restores parts of a disk onto devices, with odd ends in the middle of a sector.
func TestDevicePart(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 42))
	disk := pitted(rnd, snapshottest.RandomDisk(rnd, 12<<20))
	s := new(store.Mem)
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
	r := snapshottest.Reopen(t, s)
	for _, part := range []snapshot.Part{{Off: 63 * 512, Len: 5 << 20}, {Off: 1<<20 + 4096, Len: 3<<20 + 512}, {Off: 4<<20 + 1, Len: 1<<20 + 1}} {
		for _, sector := range []int{512, 4096} {
			old := bytes.Repeat([]byte{0xff}, 6<<20)
			node := loopDevice(t, old, sector)
			toDevice(t, r, snap, part, node, Options{Verify: true}, FitOptions{})
			copy(old, disk[part.Off:part.End()])
			if !bytes.Equal(onDevice(t, node), old) {
				t.Errorf("%+v in sectors of %d: the device is not the part, and what was after it", part, sector)
			}
		}
	}
}

// refused checks that OpenDevice refuses a device with an error that contains words, and that the device is unchanged.
func refused(t *testing.T, node string, o DeviceOptions, words ...string) {
	t.Helper()
	before := onDevice(t, node)
	refusedSo(t, node, o, words...)
	if !bytes.Equal(onDevice(t, node), before) {
		t.Error("it was written to")
	}
}

// refusedSo is refused for a device that others write to meanwhile.
func refusedSo(t *testing.T, node string, o DeviceOptions, words ...string) {
	t.Helper()
	d, err := OpenDevice(node, o)
	if err == nil {
		d.Close()
		t.Fatalf("%s was opened, and should not for %q", node, words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("it says %v, without %q", err, w)
		}
	}
}

func TestDeviceRefuses(t *testing.T) {
	blank := make([]byte, 40<<20)
	t.Run("mounted", func(t *testing.T) {
		node, dir := loopDevice(t, blank, 512), t.TempDir()
		oracle.Run(t, "mkfs.ext4", "-q", node)
		oracle.Run(t, "mount", node, dir)
		refusedSo(t, node, DeviceOptions{}, "is mounted on "+dir+" (rw)", "umount "+dir)
		oracle.Run(t, "umount", dir)
		oracle.Run(t, "mount", "-o", "ro", node, dir)
		defer oracle.Run(t, "umount", dir)
		refused(t, node, DeviceOptions{}, "is mounted on "+dir+" (ro)")
	})
	t.Run("partition mounted", func(t *testing.T) {
		node, dir := loopDevice(t, blank, 512, "--partscan"), t.TempDir()
		oracle.Run(t, "sgdisk", "-n1:2048:+20M", "-n2:0:0", node)
		part := node + "p1"
		// If the kernel reads no partition tables, partx gives it the partitions.
		if _, err := os.Stat(part); err != nil {
			oracle.Run(t, "partx", "--add", node)
		}
		oracle.Run(t, "mkfs.ext4", "-q", part)
		oracle.Run(t, "mount", part, dir)
		defer oracle.Run(t, "umount", dir)
		refusedSo(t, node, DeviceOptions{}, filepath.Base(part)+" is mounted on "+dir)
		refusedSo(t, part, DeviceOptions{}, filepath.Base(part)+" is mounted on "+dir)
		other, err := OpenDevice(node+"p2", DeviceOptions{}) // this partition is not in use
		if err != nil {
			t.Fatal(err)
		}
		if !other.IsPartition {
			t.Error("it does not know a partition")
		}
		other.Close()
	})
	t.Run("btrfs", func(t *testing.T) {
		one, two, dir := loopDevice(t, make([]byte, 120<<20), 512), loopDevice(t, make([]byte, 120<<20), 512), t.TempDir()
		oracle.Run(t, "mkfs.btrfs", "-q", "-d", "single", one, two)
		oracle.Run(t, "mount", one, dir)
		defer oracle.Run(t, "umount", dir)
		refusedSo(t, one, DeviceOptions{}, "is mounted on "+dir)
		refusedSo(t, two, DeviceOptions{}, "is mounted on "+dir)
	})
	t.Run("swap", func(t *testing.T) {
		node := loopDevice(t, blank, 512)
		oracle.Run(t, "mkswap", node)
		oracle.Run(t, "swapon", node)
		defer oracle.Run(t, "swapoff", node)
		refused(t, node, DeviceOptions{}, "is swapped on", "swapoff "+node)
	})
	t.Run("loop", func(t *testing.T) {
		node := loopDevice(t, blank, 512)
		upper := oracle.Run(t, "losetup", "--find", "--show", node)
		defer oracle.Run(t, "losetup", "--detach", upper)
		refused(t, node, DeviceOptions{}, "is held by "+filepath.Base(upper), "losetup --detach "+upper)
	})
	t.Run("held by a program", func(t *testing.T) {
		node := loopDevice(t, blank, 512)
		f, err := os.OpenFile(node, os.O_RDONLY|unix.O_EXCL, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		refused(t, node, DeviceOptions{}, "it is in use, by something that does not say so")
	})
	t.Run("read-only", func(t *testing.T) {
		refused(t, loopDevice(t, blank, 512, "--read-only"), DeviceOptions{}, "it is read-only")
	})
	t.Run("no device", func(t *testing.T) {
		for _, path := range []string{"/dev/null", snapshottest.WriteFile(t, blank), t.TempDir(), "/dev/no-such-disk"} {
			if d, err := OpenDevice(path, DeviceOptions{}); err == nil {
				d.Close()
				t.Errorf("%s was opened", path)
			}
			if IsDevice(path) {
				t.Errorf("%s is said to be a device", path)
			}
		}
	})
}

// fakeSystem returns a made-up machine on which a real device has a serial number and, if folder is not "", holds that
// folder.
func fakeSystem(t *testing.T, node, serial, folder string) image.System {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil {
		t.Fatal(err)
	}
	no := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	root := t.TempDir()
	files := map[string]string{
		"sys/devices/disk/dev":          no,
		"sys/devices/disk/serial":       serial,
		"sys/devices/disk/device/model": "Made Up 1000",
		"proc/self/mountinfo":           "1 0 0:1 / /proc rw - proc proc rw\n",
	}
	if folder != "" {
		f, err := os.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		_, id, _ := strings.Cut(string(info), "mnt_id:")
		// A device-mapper device that uses the disk.
		files["sys/devices/dm-9/dev"] = "253:9"
		files["proc/self/mountinfo"] += fmt.Sprintf("%s 0 253:9 / /srv rw - ext4 /dev/mapper/x rw\n", strings.Fields(id)[0])
	}
	for path, content := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{"sys/dev/block/" + no: "sys/devices/disk"}
	if folder != "" {
		links["sys/dev/block/253:9"] = "sys/devices/dm-9"
		links["sys/devices/dm-9/slaves/disk"] = "sys/devices/disk"
	}
	for from, to := range links {
		from = filepath.Join(root, from)
		if err := os.MkdirAll(filepath.Dir(from), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, to), from); err != nil {
			t.Fatal(err)
		}
	}
	return image.System{Root: root}
}

func TestDeviceSerial(t *testing.T) {
	node := loopDevice(t, make([]byte, 1<<20), 512)
	system := fakeSystem(t, node, "SN-1", "")
	d, err := OpenDevice(node, DeviceOptions{System: system, Serial: "SN-1"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Identity.Serial != "SN-1" || d.Identity.Model != "Made Up 1000" || d.Size != 1<<20 {
		t.Errorf("%+v", d)
	}
	d.Close()
	refused(t, node, DeviceOptions{System: system, Serial: "SN-2"}, `its serial number is "SN-1", not "SN-2"`)
	refused(t, node, DeviceOptions{Serial: "SN-1"}, "it tells no serial number")
	folder := t.TempDir()
	held := fakeSystem(t, node, "SN-1", folder)
	refused(t, node, DeviceOptions{System: held, Keep: map[string]string{folder: "the repository"}}, "the repository is on it ("+folder+")")
}

// TestDeviceLink opens a device by a link and then points the link elsewhere: nothing is written there.
func TestDeviceLink(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 43))
	disk := snapshottest.RandomDisk(rnd, 3<<20)
	s := new(store.Mem)
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
	r := snapshottest.Reopen(t, s)
	old := bytes.Repeat([]byte{0xff}, len(disk))
	meant, other := loopDevice(t, old, 512), loopDevice(t, old, 512)
	link := filepath.Join(t.TempDir(), "disk")
	if err := os.Symlink(meant, link); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDevice(link, DeviceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	fit, err := FitOnto(t.Context(), r, snap, snap.Whole(), d, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ToDevice(t.Context(), r, snap, fit, d, Options{Verify: true}, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(onDevice(t, other), old) {
		t.Error("the device that the link led to later was written to")
	}
	if !bytes.Equal(onDevice(t, meant), disk) {
		t.Error("the device that was meant is not the disk")
	}
}

// failingDevice returns the node of a device over a file. Its writes fail as long as the file trigger exists.
func failingDevice(t *testing.T, dir, path, trigger string) string {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		oracle.Lacking(t, "there is no FUSE: %v", err)
	}
	mount := filepath.Join(dir, "failing")
	if err := os.WriteFile(mount, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	oracle.Path(t, "nbdkit")
	cmd := oracle.Command(t, "nbdfuse", mount, "[", "nbdkit", "--exit-with-parent", "--filter=error", "file", path,
		"error-pwrite-rate=100%", "error-pwrite-file="+trigger, "error-zero-rate=100%", "error-zero-file="+trigger, "]")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("umount", mount).Run()
		_ = cmd.Wait()
	})
	deadline := time.Now().Add(time.Minute)
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		if info, err := os.Stat(mount); err == nil && info.Size() > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nbdfuse shows nothing")
		}
	}
	return oracle.Loop(t, mount)
}
