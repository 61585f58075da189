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

// howToReadInUse says what to do instead of reading an image that a virtual machine writes to.
const howToReadInUse = "a running machine keeps tables and data in memory, so what is read would lack them and mix old and new. " +
	"Shut it down; or take a snapshot of it with --before and back up what does not change any more (virsh snapshot-create-as --disk-only, " +
	"and virsh blockcommit --active --pivot with --after); or pipe in what it exports by NBD (docs/disks.md). " +
	"--force-in-use reads it as it is, and marks the version"

// inUseError is the refusal to read a source.
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

// refuseLocked returns an error for a file that a program has locked to write to it. What it holds then, its format and its
// tables, is not to be believed.
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

// checkUse refuses a source that a program writes to: an image of which tables are in that program's memory, and anything that
// is locked. A raw disk that is only open for writing is warned about, since it need not be written to.
func (src *source) checkUse(env *env, opts backupOptions, s *snapshot.Snapshot) (err error) {
	if disk, ok := src.disk.(*virtual.Disk); ok {
		src.uses, err = disk.Claims()
	} else {
		src.uses, err = image.Claims(src.file)
	}
	if err != nil {
		env.detail(opts.common, "%v", err) // locks were looked for when it was opened
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

// forceOrRefuse has a version marked whose source is in use, where that is asked for.
func forceOrRefuse(env *env, opts backupOptions, path string, uses []image.Use, s *snapshot.Snapshot) error {
	switch {
	case len(uses) == 0:
		return nil
	case !opts.image.forceInUse:
		return inUseError(path, uses)
	}
	s.Modified = true
	env.warn(opts.common, "%s is read though %v: %s", path, image.ErrInUse, useText(uses))
	return nil
}
