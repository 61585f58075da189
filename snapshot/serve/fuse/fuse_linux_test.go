package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// A shelf is a catalog in memory.
type shelf struct {
	mu       sync.Mutex
	disks    []string
	versions map[string][]Version
	files    map[string][]File // by ID
	err      error             // what all methods return
	asked    map[string]int    // how often Files was called, by ID
}

func newShelf() *shelf {
	return &shelf{versions: make(map[string][]Version), files: make(map[string][]File), asked: make(map[string]int)}
}

func (s *shelf) add(disk string, v Version, files ...File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.disks, disk) {
		s.disks = append(s.disks, disk)
	}
	s.versions[disk] = append(slices.Clip(s.versions[disk]), v)
	s.files[v.ID] = files
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *shelf) Disks(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.disks), s.err
}

func (s *shelf) Versions(_ context.Context, disk string) ([]Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[disk], s.err
}

func (s *shelf) Files(_ context.Context, v Version) ([]File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[v.ID]++
	return s.files[v.ID], s.err
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// of returns a file that holds a disk.
func of(name string, disk image.Disk) File {
	return File{Name: name, Size: disk.Size(), Data: -1, Open: func(context.Context) (image.Disk, error) { return disk, nil }}
}

// mem returns a file that holds data.
func mem(name string, data []byte) File { return of(name, image.Mem{Data: data, Holes: true}) }

// mount mounts a catalog for one test.
func mount(t testing.TB, c Catalog, opts Options) (dir string, s *Server) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		oracle.Lacking(t, "no FUSE: %v", err)
	} else {
		f.Close()
	}
	dir = t.TempDir()
	if opts.refresh == 0 {
		opts.refresh = 1 // a test waits for no list to grow old
	}
	opts.Name = testName(os.Getpid())
	s, err := Mount(t.Context(), dir, c, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return dir, s
}

// mountDisk mounts one version that has one disk, and returns the path of disk.img.
func mountDisk(t testing.TB, disk image.Disk, opts Options) (path string, s *Server) {
	t.Helper()
	c, v := newShelf(), Version{ID: "v", Time: noon}
	f := of("disk.img", disk)
	_, f.Writable = disk.(image.Writable)
	c.add("disk", v, f)
	opts.Version = &v
	dir, s := mount(t, c, opts)
	return filepath.Join(dir, "disk.img"), s
}

// noise returns data that no two offsets share.
func noise(n int, seed uint64) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
	return data
}

func TestMain(m *testing.M) {
	if run := children[os.Getenv("FUSE_TEST_CHILD")]; run != nil {
		run()
	}
	end, err := watch()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := m.Run()
	end()
	if n := stray(); n != "" && code == 0 {
		fmt.Println("goroutines are left:\n" + n)
		code = 1
	}
	os.Exit(code)
}

// stray returns the stacks of goroutines that serve still.
func stray() string {
	for range 1000 { // those that have just been released need a moment
		runtime.Gosched()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !bytes.Contains(stacks, []byte("hanwen/go-fuse")) {
			return ""
		}
	}
	stacks := make([]byte, 1<<20)
	return string(stacks[:runtime.Stack(stacks, true)])
}

func TestTree(t *testing.T) {
	c := newShelf()
	c.add("nas/sda", Version{ID: "v1", Time: noon}, mem("disk.img", noise(5000, 1)), mem("p1-a/b.img", noise(512, 2)), mem("disk.json", []byte("{}\n")))
	c.add("nas/sda", Version{ID: "v2", Time: noon.Add(time.Hour)}, mem("disk.img", nil))
	c.add("other", Version{ID: "v3", Time: noon.Add(time.Minute)}, mem("disk.img", noise(1, 3)))
	c.disks = append(c.disks, "empty")
	dir, _ := mount(t, c, Options{})
	const first, second = "2026-03-01T12-00-00Z", "2026-03-01T13-00-00Z"
	var got []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		at := info.ModTime().UTC().Format("15:04:05.999999999")
		if path == dir {
			at = "-"
		}
		got = append(got, fmt.Sprintf("%s %s %d %d %s", info.Mode(), name, st.Nlink, info.Size(), at))
		if st.Uid != uint32(os.Geteuid()) || st.Gid != uint32(os.Getegid()) || st.Ctim != st.Mtim {
			t.Errorf("%s: %+v", name, st)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"dr-x------ . 5 0 -",
		"dr-x------ empty 2 0 00:00:00",
		"dr-x------ nas_sda 4 0 13:00:00.123456789",
		"dr-x------ nas_sda/" + first + " 2 0 12:00:00.123456789",
		"-r-------- nas_sda/" + first + "/disk.img 1 5000 12:00:00.123456789",
		"-r-------- nas_sda/" + first + "/disk.json 1 3 12:00:00.123456789",
		"-r-------- nas_sda/" + first + "/p1-a_b.img 1 512 12:00:00.123456789",
		"dr-x------ nas_sda/" + second + " 2 0 13:00:00.123456789",
		"-r-------- nas_sda/" + second + "/disk.img 1 0 13:00:00.123456789",
		"Lrwxrwxrwx nas_sda/latest 1 20 13:00:00.123456789",
		"dr-x------ other 3 0 12:01:00.123456789",
		"dr-x------ other/2026-03-01T12-01-00Z 2 0 12:01:00.123456789",
		"-r-------- other/2026-03-01T12-01-00Z/disk.img 1 1 12:01:00.123456789",
		"Lrwxrwxrwx other/latest 1 20 12:01:00.123456789",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the tree is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if target, err := os.Readlink(dir + "/nas_sda/latest"); target != second || err != nil {
		t.Errorf("latest is %q, %v", target, err)
	}
	if data, err := os.ReadFile(dir + "/other/latest/disk.img"); !bytes.Equal(data, noise(1, 3)) || err != nil {
		t.Errorf("other/latest/disk.img = %x, %v", data, err)
	}
	if _, err := os.Stat(dir + "/nas_sda/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks != 0 || st.Namelen != 255 || st.Bsize != 4096 {
		t.Errorf("statfs: %+v, %v", st, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if want := fmt.Sprintf("%s %s fuse.platter ro,nosuid,nodev,noexec,noatime,", testName(os.Getpid()), dir); err != nil || !strings.Contains(string(mounts), want) {
		t.Errorf("no line %q in %s", want, mounts)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked["v1"] != 1 {
		t.Errorf("the files of a version were asked for %d times", c.asked["v1"])
	}
}

// TestInodeNumbers checks that a folder's listing and stat agree, and that no two files have the same number.
func TestInodeNumbers(t *testing.T) {
	c := newShelf()
	for i := range 300 {
		c.add("d", Version{ID: fmt.Sprint(i), Time: noon.Add(time.Duration(i) * time.Minute)}, mem("disk.img", []byte{1}))
	}
	dir, _ := mount(t, c, Options{refresh: time.Hour})
	seen := make(map[string]string)
	wanted := func(line string) {
		ino, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if other, ok := seen[ino]; ok && other != name {
			t.Errorf("%q and %q have the number %s", other, name, ino)
		}
		seen[ino] = name
	}
	for line := range strings.Lines(oracle.Run(t, "find", dir, "-printf", "%i /%P\n")) { // by stat
		wanted(line)
	}
	for line := range strings.Lines(oracle.Run(t, "ls", "-fi1", dir+"/d")) { // by the list
		line = strings.NewReplacer(" ..", " /", " .", " /d", " ", " /d/").Replace(strings.TrimSpace(line))
		wanted(line)
	}
	if len(seen) != 1+1+300+300+1 {
		t.Errorf("%d files", len(seen))
	}
}

func TestReads(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 1<<20 + 1, 5<<20 + 12345} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := noise(size, uint64(size))
			path, _ := mountDisk(t, image.Mem{Data: data}, Options{})
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("read %d bytes: %v", len(got), err)
			}
			readAtRandom(t, path, data)
		})
	}
}

// TestCacheIsKept checks that the kernel asks once for what does not change.
func TestCacheIsKept(t *testing.T) {
	disk := &damaged{Mem: image.Mem{Data: noise(1<<20, 1)}, to: 1 << 20}
	path, _ := mountDisk(t, disk, Options{})
	for range 3 {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, disk.Data) {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		disk.bad.Store(true)
	}
}

// readAtRandom compares a file with data: 8 readers, with and without the page cache.
func readAtRandom(t *testing.T, path string, data []byte) {
	t.Helper()
	var readers errgroup.Group
	for i := range 8 {
		readers.Go(func() error {
			f, err := os.OpenFile(path, os.O_RDONLY|[]int{0, unix.O_DIRECT}[i%2], 0)
			if err != nil {
				return err
			}
			defer f.Close()
			random := rand.New(rand.NewPCG(uint64(i), uint64(len(data))))
			for range 40 {
				off, p := random.Int64N(int64(len(data))+10), make([]byte, random.IntN(1<<random.IntN(20)+1))
				n, _ := f.ReadAt(p, off)
				want := data[min(off, int64(len(data))):min(off+int64(len(p)), int64(len(data)))]
				if !bytes.Equal(p[:n], want) {
					return fmt.Errorf("reader %d: %d bytes at %d are wrong, or only %d", i, len(p), off, n)
				}
			}
			return nil
		})
	}
	if err := readers.Wait(); err != nil {
		t.Error(err)
	}
}
