package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrInUse says that an image file or a device is in use, so it must not be read or written now.
var ErrInUse = errors.New("it is in use")

// Claims returns the other programs that make it unsafe to read the files or devices now, or with toWrite, to write
// them. These are programs that hold a lock, and programs that have a file open for writing. A read would return a
// mixture; a write would do harm. Claims sees locks of all users, but open files only of processes that this user may
// inspect; root sees all.
func (s System) Claims(toWrite bool, files ...*os.File) (uses []Use, err error) {
	for range looks {
		now, err := s.claimsNow(toWrite, files)
		if err != nil {
			return nil, err
		}
		if uses != nil { // not the first look
			now = slices.DeleteFunc(now, func(u Use) bool { return u.Kind == UseOpen && !slices.Contains(uses, u) })
		}
		uses = now
		if !slices.ContainsFunc(uses, func(u Use) bool { return u.Kind == UseOpen }) {
			break
		}
		time.Sleep(lookAgain)
	}
	return uses, nil
}

// A program may have a device open for writing only for a moment; losetup does so to find a free one. So Claims looks
// several times at files that are open but not locked. It reports a process only if it has the file open every time.
const (
	looks     = 5
	lookAgain = 150 * time.Millisecond
)

func (s System) claimsNow(toWrite bool, files []*os.File) (uses []Use, err error) {
	found, err := s.openers(files)
	if err != nil {
		return nil, fmt.Errorf("find out which programs use %s: %w", files[0].Name(), err)
	}
	for i, f := range files {
		locked := s.isLocked(f, toWrite)
		named := false
		for _, o := range found[i] {
			if locked && o.locks && (toWrite || o.writes || o.excludes) {
				named = true
				uses = append(uses, Use{UseLock, o.device, o.title(), o.writes})
			} else if o.writes && (toWrite || !o.locks) { // a lock itself shows whether its holder writes
				uses = append(uses, Use{UseOpen, o.device, o.title(), true})
			}
		}
		if locked && !named {
			uses = append(uses, Use{Kind: UseLock, Device: s.titleOf(f), Writable: true})
		}
		if name := vmwareLock(f.Name()); name != "" {
			uses = append(uses, Use{UseLock, s.titleOf(f), "VMware, by " + name, true})
		}
	}
	return uses, nil
}

// IsLocked reports whether a program that writes to the file had it locked when the file was opened.
func (d *File) IsLocked() bool { return d.locked }

// Claims returns the programs that may make a read of these files a mixture. They are those that System.Claims returns,
// and any that had a file locked when it was opened.
func Claims(files ...*File) ([]Use, error) {
	open := make([]*os.File, len(files))
	for i, d := range files {
		open[i] = d.file
	}
	uses, err := System{}.Claims(false, open...)
	for _, d := range files {
		if d.locked && !slices.ContainsFunc(uses, func(u Use) bool { return u.Kind == UseLock }) {
			uses = append(uses, Use{Kind: UseLock, Device: d.Path, Writable: true})
		}
	}
	return uses, err
}

// An opener is a process that has a file or a device open.
type opener struct {
	device   string // the file or device, as in Use.Device
	pid      int
	name     string // of its program
	writes   bool   // it may write
	locks    bool   // it holds a lock
	excludes bool   // it holds an exclusive lock
}

func (o opener) title() string { return fmt.Sprintf("%s (process %d)", o.name, o.pid) }

// titleOf returns the name of a file or device for Use.Device.
func (s System) titleOf(f *os.File) string {
	if name := s.Name(f); name != "" {
		return name
	}
	return f.Name()
}

// QEMU locks single bytes of an image, one for each permission. It takes shared locks from permBase on for what it does
// itself, and from denyBase on for what no other process may do. Before that it checks for the locks of others.
const (
	permBase = 100
	denyBase = 200
	lockEnd  = 300

	permRead   = 0 // read consistent data
	permWrite  = 1
	permResize = 3
)

// A lockTest is a range of bytes that no other process may have locked.
type lockTest struct {
	exclusive bool // a shared lock counts too
	off, n    int64
	qemu      bool // a shared lock counts only if it is one of QEMU's
}

// lockTests returns the tests to make. An exclusive lock means that its owner writes; any lock means that its owner at
// least reads. A program that shares an image for reading, such as qemu-nbd --read-only, prevents only writing.
func lockTests(toWrite bool) []lockTest {
	if toWrite {
		return []lockTest{{exclusive: true}}
	}
	return []lockTest{
		{},
		{true, permBase + permWrite, 1, true},
		{true, permBase + permResize, 1, true},
		{true, denyBase + permRead, 1, true},
	}
}

// vmwareLock returns the lock folder that VMware puts beside a disk in use; "" for none.
func vmwareLock(path string) string {
	if !strings.EqualFold(filepath.Ext(path), ".vmdk") {
		return ""
	}
	locks, _ := filepath.Glob(escapeGlob(path) + ".lck/*.lck")
	if len(locks) == 0 {
		return ""
	}
	return filepath.Dir(locks[0])
}

// escapeGlob returns a pattern that matches only path.
func escapeGlob(path string) string {
	var out strings.Builder
	for _, c := range path {
		if strings.ContainsRune(`*?[\`, c) && filepath.Separator == '/' {
			out.WriteByte('\\')
		}
		out.WriteRune(c)
	}
	return out.String()
}
