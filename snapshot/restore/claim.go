package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"platter/snapshot/image"
)

// refuseUsed returns an error that says what uses an open file or device that is to be written to, and how to end that. What
// programs do can be overruled: a lock may be left over from a machine that is gone. What the system does cannot.
func refuseUsed(f *os.File, system image.System, force bool) error {
	uses, err := system.Uses(f)
	if err != nil {
		return err
	}
	onlyPrograms := len(uses) == 0
	if !force {
		claims, err := system.Claims(true, f)
		if err != nil {
			return err
		}
		uses = append(uses, claims...)
	}
	if len(uses) == 0 {
		return nil
	}
	var what, remedies []string
	for _, u := range uses {
		what, remedies = append(what, u.String()), append(remedies, u.Remedy())
	}
	advice := fmt.Sprintf("end that first (%s)", strings.Join(remedies, "; "))
	if onlyPrograms {
		advice += "; --force-in-use writes to it all the same"
	}
	return fmt.Errorf("%w: %s; %s", image.ErrInUse, strings.Join(what, ", "), advice)
}

// claim makes sure that nothing uses an open file or device, and keeps others from it until it is closed, as far as they look
// at locks: a machine that QEMU starts meanwhile fails to start.
func claim(f *os.File, system image.System, force bool) error {
	if err := refuseUsed(f, system, force); err != nil || force {
		return err
	}
	return system.Lock(f)
}

// refuseReplacing returns an error for a file that is in use and is to be replaced: who uses it would go on with the file
// that has no name any more, and all that is written to it would be lost.
func refuseReplacing(path string, force bool) error {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission): // it may be replaced without being read
		if f, err = openToLook(path); err != nil {
			return nil
		}
	case err != nil:
		return err
	}
	defer f.Close()
	return refuseUsed(f, image.System{}, force)
}
