//go:build !linux

package restore

import (
	"errors"
	"fmt"
	"os"
)

const devices = false

func openExclusive(string, bool) (*os.File, error) {
	return nil, fmt.Errorf("platter writes to devices only on Linux so far: %w", errors.ErrUnsupported)
}

func openToLook(path string) (*os.File, error) { return os.Open(path) }

func isBusy(error) bool { return false }
