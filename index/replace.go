package index

import (
	"errors"
	"os"
	"path/filepath"
)

// ReplaceFile replaces a file in a folder of this machine's cache atomically, and removes temporary files that crashes
// left there. If durable, the old file or the new one is whole after a power cut. Otherwise a power cut may leave any
// content, which the file's own sums must detect.
//
// For a file of the user there is restore.ReplaceFile. It also syncs the folder, and keeps links, owner and access.
func ReplaceFile(path string, data []byte, durable bool) error {
	folder := filepath.Dir(path)
	sweep(folder)
	f, err := os.CreateTemp(folder, tempPrefix+filepath.Base(path)+"-*"+tempSuffix)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
