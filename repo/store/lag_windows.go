package store

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

func isRemote(root string) bool {
	path, err := filepath.Abs(root)
	if err != nil {
		return false
	}
	volume, err := windows.UTF16PtrFromString(filepath.VolumeName(path) + `\`)
	return err == nil && windows.GetDriveType(volume) == windows.DRIVE_REMOTE
}
