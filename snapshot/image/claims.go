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

// ErrInUse says that something uses an image file or a device, so that it must not be read, or written, now.
var ErrInUse = errors.New("it is in use")

// Claims returns the programs that use files or devices so that reading them now gives a mixture, or, where they are to be
// written, so that writing to them does harm: who has them locked, and who has them open for writing. This process is none
// of them. Locks are seen wherever their owner is, open files only of processes that this user may look into: root sees all.
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

// A program may have a device open for writing for a moment only, as losetup does that looks for a free one. So what is open
// and not locked is looked for again, and counts where one process has it open every time.
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
			} else if o.writes && (toWrite || !o.locks) { // who locks says by that whether it writes
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

// IsLocked reports whether a program that writes to the file had it locked when it was opened.
func (d *File) IsLocked() bool { return d.locked }

// Claims returns the programs because of which what is read of these files may be a mixture: those of System.Claims, and one
// that had a file locked when it was opened.
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
	device   string // what it has open, as a Use calls it
	pid      int
	name     string // of its program
	writes   bool   // it may write
	locks    bool   // it holds a lock
	excludes bool   // it holds an exclusive one
}

func (o opener) title() string { return fmt.Sprintf("%s (process %d)", o.name, o.pid) }

// titleOf is what a Use calls a file or a device.
func (s System) titleOf(f *os.File) string {
	if name := s.Name(f); name != "" {
		return name
	}
	return f.Name()
}

// Where QEMU locks bytes of an image, each for a thing that can be done with it: shared locks from permBase on for what it
// does itself, and from denyBase on for what no other process may do meanwhile. A process looks for locks there first.
const (
	permBase = 100
	denyBase = 200
	lockEnd  = 300

	permRead   = 0 // to read what is consistent
	permWrite  = 1
	permResize = 3
)

// A lockTest is bytes that no other process must have locked.
type lockTest struct {
	exclusive bool // a shared lock counts too
	off, n    int64
	qemu      bool // a shared lock counts only if it is one of QEMU's
}

// lockTests are what there is to look for. Any exclusive lock says that its owner writes, any lock that its owner reads at
// least. A program that shares an image for reading, as qemu-nbd --read-only does, stands in the way of writing only.
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

// vmwareLock returns the lock that VMware's programs put beside a disk that they use: a folder of files; "" for none.
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

// escapeGlob returns a pattern that matches a path alone.
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
