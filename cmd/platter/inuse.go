package main

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/image/virtual"
)

// howToReadInUse says what to do about an image that a virtual machine has open.
const howToReadInUse = "a running machine keeps tables and data in memory, so a backup would miss them and mix old and new. " +
	"Shut it down; or take a snapshot with --before and back up the file that no longer changes (virsh snapshot-create-as --disk-only, " +
	"and virsh blockcommit --active --pivot with --after); or back it up by NBD while it runs (docs/disks.md). " +
	"--force-in-use reads it as it is, and marks the version as a mixture"

// inUseError is the error that refuses a source.
func inUseError(path string, uses []image.Use) error {
	return fmt.Errorf("back up %s: %w: %s; %s", path, image.ErrInUse, useText(uses), howToReadInUse)
}

func useText(uses []image.Use) string {
	var words []string
	for _, u := range uses {
		words = append(words, u.String())
	}
	return strings.Join(words, ", ")
}

func isLock(u image.Use) bool  { return u.Kind == image.UseLock }
func notLock(u image.Use) bool { return u.Kind != image.UseLock }

// refuseLocked returns an error for a file that a program has locked for writing: neither its format nor its tables are reliable.
func (o imageOptions) refuseLocked(file *image.File) error {
	if o.forceInUse || !file.IsLocked() {
		return nil
	}
	uses, err := image.Claims(file)
	if err != nil {
		return err
	}
	return inUseError(file.Path, slices.DeleteFunc(uses, notLock))
}

// checkUse refuses a source that a program writes to: an image, whose tables are in the memory of that program, and anything that
// is locked. A raw disk that is only open for writing gets a warning, because the program may not write to it.
func (src *source) checkUse(env *env, opts backupOptions, s *snapshot.Snapshot) (err error) {
	if disk, ok := src.disk.(*virtual.Disk); ok {
		src.uses, err = disk.Claims()
	} else {
		src.uses, err = image.Claims(src.file)
	}
	if err != nil {
		env.detail(opts.common, "%v", err) // opening it has already looked for locks
		return nil
	}
	if src.kind == src.file.Kind && !slices.ContainsFunc(src.uses, isLock) {
		return nil
	}
	return forceOrRefuse(env, opts, src.path, src.uses, s)
}

// checkInput does the same for a file that is redirected to standard input.
func checkInput(env *env, opts backupOptions, s *snapshot.Snapshot) error {
	info, err := env.stdin.Stat()
	if err != nil || !info.Mode().IsRegular() && info.Mode()&fs.ModeDevice == 0 || info.Mode()&fs.ModeCharDevice != 0 {
		return nil
	}
	uses, err := env.devices.Claims(false, env.stdin)
	if err != nil {
		env.detail(opts.common, "%v", err)
	}
	return forceOrRefuse(env, opts, "standard input", slices.DeleteFunc(uses, notLock), s)
}

// forceOrRefuse refuses a source in use. With --force-in-use it marks the version as a mixture instead.
func forceOrRefuse(env *env, opts backupOptions, path string, uses []image.Use, s *snapshot.Snapshot) error {
	switch {
	case len(uses) == 0:
		return nil
	case !opts.image.forceInUse:
		return inUseError(path, uses)
	}
	s.Modified = true
	env.warn(opts.common, "%s is read although %v: %s", path, image.ErrInUse, useText(uses))
	return nil
}
