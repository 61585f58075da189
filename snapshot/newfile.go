package snapshot

import (
	"errors"
	"os"
	"path/filepath"
)

// intoNew makes a file of what fill writes to f and syncs; fill closes f. The file has its name once all of it is durable.
// Where it fails nothing is left of it.
func intoNew(path string, replace bool, fill func(f *os.File) error) error {
	if err := checkTarget(path, replace); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".partial-*")
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = checkTarget(path, replace) // somebody may have put one there meanwhile
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, removeIfThere(f.Name()))
	}
	return nil
}
