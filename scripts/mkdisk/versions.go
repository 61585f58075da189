package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/diskfs/go-diskfs/filesystem"
)

// versionFile, on the root partition, keeps the changes of a day from being made twice.
const versionFile = "etc/disk-version"

const (
	thesisFile   = "home/ada/Documents/thesis.txt"
	logFile      = "var/log/syslog"
	databaseFile = "var/lib/app/store.db"
	toolFile     = "usr/bin/tool-03"
)

// A file is one generated file and its size.
type file struct {
	name string
	make maker
	size int // bytes
}

// create makes version 1.
func create(image string, size int64) (err error) {
	m, err := newMachine(image, size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()

	if err := add(m.esp, kernel("6.1.0-28")); err != nil {
		return err
	}
	if err := add(m.root, firstDay(unit(m))); err != nil {
		return err
	}
	return m.setVersion(1)
}

// change makes version 2 from 1, or 3 from 2.
func change(image string, version int) (err error) {
	days := map[int]func(*machine) error{2: secondDay, 3: thirdDay}
	day, ok := days[version]
	if !ok {
		return fmt.Errorf("version %d: want 1, 2 or 3", version)
	}
	m, err := openMachine(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()

	was, err := m.root.ReadFile(versionFile)
	if err != nil {
		return fmt.Errorf("read the disk's version: %w", err)
	}
	if want := fmt.Sprintln(version - 1); string(was) != want {
		return fmt.Errorf("disk is at version %q, want %q", was, want)
	}
	if err := day(m); err != nil {
		return err
	}
	return m.setVersion(version)
}

func (m *machine) setVersion(version int) error {
	return write(m.root, versionFile, fmt.Appendln(nil, version), 0)
}

// unit is the measure that lets the files grow with the disk: about 1 MiB on one of 256 MiB.
func unit(m *machine) int { return int(rootSize(m.disk.Size) / 214) }

func kernel(release string) []file {
	return []file{
		{"EFI/BOOT/BOOTX64.EFI", program, 150 << 10},
		{"EFI/debian/vmlinuz-" + release, program, 5 << 20},
		{"EFI/debian/initrd-" + release, photo, 7 << 20},
		{"loader/loader.conf", text, 60},
	}
}

func firstDay(unit int) []file {
	files := []file{
		{"etc/app.conf", text, 600},
		{thesisFile, text, unit},
		{databaseFile, database, 8 * unit},
		{logFile, logLines, 3 * unit},
	}
	for i := range 12 {
		files = append(files, file{fmt.Sprintf("usr/bin/tool-%02d", i), program, unit * (i + 4) / 6})
	}
	for i := range 60 {
		files = append(files, file{fmt.Sprintf("usr/share/doc/package-%02d/README", i), text, unit * (i + 1) / 1000})
	}
	for i := range 6 {
		files = append(files, picture(i, unit))
	}
	return files
}

func picture(i, unit int) file {
	return file{fmt.Sprintf("home/ada/Pictures/IMG_%04d.JPG", i), photo, unit * (i + 12) / 4}
}

// secondDay is a day of use: pictures come in, the log grows, the database works, and a file is copied.
func secondDay(m *machine) error {
	u := unit(m)
	thesis := generate(text, thesisFile, u)
	return errors.Join(
		add(m.root, []file{picture(6, u), picture(7, u)}),
		grow(m.root, logFile, generate(logLines, "day 2", u)),
		rewritePages(m.root, databaseFile, "day 2", 40),
		write(m.root, "home/ada/Documents/thesis (copy).txt", thesis, 0),
	)
}

// thirdDay is a day of upgrades: one tool is new in part, and a new kernel takes the old one's place.
func thirdDay(m *machine) error {
	u := unit(m)
	return errors.Join(
		grow(m.root, logFile, generate(logLines, "day 3", u)),
		rewritePages(m.root, databaseFile, "day 3", 40),
		write(m.root, toolFile, generate(program, "upgrade", u/2), int64(u/4)),
		upgrade(m.esp, kernel("6.1.0-28"), kernel("6.1.0-29")),
	)
}

// upgrade replaces files by their next release. The old ones are emptied and renamed rather than removed: go-diskfs
// 1.9.4 does not free a removed file's clusters on FAT32, and frees the wrong inode on ext4.
func upgrade(fs filesystem.FileSystem, from, to []file) error {
	for i, old := range from {
		f, err := fs.OpenFile(old.name, os.O_RDWR|os.O_TRUNC)
		if err != nil {
			return fmt.Errorf("empty %s: %w", old.name, err)
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("empty %s: %w", old.name, err)
		}
		if old.name == to[i].name {
			continue
		}
		if err := fs.Rename(old.name, to[i].name); err != nil {
			return fmt.Errorf("rename %s: %w", old.name, err)
		}
	}
	return add(fs, to)
}

func add(fs filesystem.FileSystem, files []file) error {
	for _, f := range files {
		if err := write(fs, f.name, generate(f.make, f.name, f.size), 0); err != nil {
			return err
		}
	}
	return nil
}

func grow(fs filesystem.FileSystem, name string, data []byte) error {
	info, err := fs.Stat(name)
	if err != nil {
		return fmt.Errorf("grow %s: %w", name, err)
	}
	return write(fs, name, data, info.Size())
}

// rewritePages gives some pages of a file new content where they are.
func rewritePages(fs filesystem.FileSystem, name, seed string, pages int) error {
	info, err := fs.Stat(name)
	if err != nil {
		return fmt.Errorf("rewrite %s: %w", name, err)
	}
	rng := source(name + seed)
	for range pages {
		at := rng.Int64N(info.Size()/pageSize) * pageSize
		if err := write(fs, name, database(rng, pageSize), at); err != nil {
			return err
		}
	}
	return nil
}
