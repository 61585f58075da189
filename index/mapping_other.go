//go:build !unix

package index

import (
	"errors"
	"os"
)

// Windows cannot replace a mapped file, so other processes could not renew the cache. Runs are read into memory
// there: 24 bytes a chunk, and two more for frames.
const (
	canMap           = false
	removesOpenFiles = false
)

func mapFile(*os.File, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapFile([]byte) {}

func isLocal(*os.File) bool { return false }
