package store

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

func lagOf(root string) Lag {
	path, err := filepath.Abs(root)
	if err != nil {
		return Lag{}
	}
	volume, err := windows.UTF16PtrFromString(filepath.VolumeName(path) + `\`)
	if err == nil && windows.GetDriveType(volume) == windows.DRIVE_REMOTE {
		return Lag{Time: remoteLag}
	}
	return Lag{}
}
