package restore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"platter/pack"
	"platter/snapshot/image"
)

// openInPlace opens a file to restore in place.
func openInPlace(path string, flag int, forceInUse bool) (*os.File, error) {
	// A mistyped name must not create a new disk beside the intended one.
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; without --in-place it is made", err)
	}
	if err := checkTarget(path, true); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	err = refuseOwn(f)
	switch {
	case err != nil:
	case flag == os.O_RDONLY:
		err = refuseUsed(f, image.System{}, forceInUse)
	default:
		err = claim(f, image.System{}, forceInUse)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkTarget returns an error unless target may become our file.
func checkTarget(target string, replace bool) error {
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(target); err == nil {
			return errors.New("it is a link to nothing; remove it, or give the name it points to")
		}
		if _, err := os.Stat(filepath.Dir(target)); err != nil {
			return fmt.Errorf("make its folder first: %w", err)
		}
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("it is a folder; name the file to write in it")
	case info.Mode()&fs.ModeDevice != 0:
		return errors.New("it is a device that platter does not write to (block devices on Linux are the ones that it does)")
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case !replace:
		return ErrTargetExists
	}
	return nil
}

// refuseOwn returns an error for a file of a repository: it may have a hard link outside.
func refuseOwn(f *os.File) error {
	head := make([]byte, pack.HeaderSize)
	if n, err := f.ReadAt(head, 0); n < len(head) {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if pack.IsFile(head) {
		return errors.New("it is a file of a platter repository")
	}
	return nil
}
