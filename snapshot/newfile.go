package snapshot

import (
	"errors"
	"os"
	"path/filepath"
)

// intoNew makes a file of what fill writes to f and syncs; fill closes f. The file has its name once all of it is durable.
// Where it fails nothing is left of it.
func intoNew(path string, replace, forceInUse bool, fill func(f *os.File) error) error {
	check := func() error {
		if err := checkTarget(path, replace); err != nil || !replace {
			return err
		}
		return refuseReplacing(path, forceInUse)
	}
	if err := check(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".partial-*")
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = check() // somebody may have put one there meanwhile, or use the one that is there
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
