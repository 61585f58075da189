//go:build unix

package snapshot

import (
	"errors"
	"os"
)

// syncDir makes a rename in dir durable. Some network file systems cannot, and say so.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if lacksSync(err) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
