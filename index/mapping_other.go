//go:build !unix

package index

import (
	"errors"
	"os"
)

// On Windows a file that is mapped cannot be replaced, and other processes could not renew the cache. So runs are read into
// memory there: 24 bytes a chunk, and two more for frames.
const (
	canMap           = false
	removesOpenFiles = false
)

func mapFile(*os.File, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapFile([]byte) {}

func isLocal(*os.File) bool { return false }
