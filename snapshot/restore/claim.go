package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"platter/snapshot/image"
)

// refuseUsed returns an error if anything uses an open file or device that is about to be written. The error names each
// user and how to end its use. force overrules the claims of programs: a dead machine may have left a lock. Uses by the
// system itself cannot be overruled.
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

// claim returns an error if anything uses an open file or device. Otherwise it locks it until it is closed. The lock
// works against programs that look at locks: a machine that QEMU starts meanwhile fails to start.
func claim(f *os.File, system image.System, force bool) error {
	if err := refuseUsed(f, system, force); err != nil || force {
		return err
	}
	return system.Lock(f)
}

// refuseReplacing returns an error if the file about to be replaced is in use. A program that has it open would
// continue with the nameless old file, and everything written there would be lost.
func refuseReplacing(path string, force bool) error {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission): // a file can be replaced without read permission
		if f, err = openToLook(path); err != nil {
			return nil
		}
	case err != nil:
		return err
	}
	defer f.Close()
	return refuseUsed(f, image.System{}, force)
}
