//go:build !linux

package restore

import (
	"errors"
	"os"
)

// openDirect and reopenDirect return nil: here nothing is known to be gained.
func openDirect(*os.File) *os.File { return nil }

func reopenDirect(*os.File, bool) *os.File { return nil }

func onPage([]byte) bool { return false }

func isInvalid(error) bool { return false }

func startWriting(*os.File, int64, int64) {}

// punch makes no hole: zeros are written instead.
func punch(*os.File, int64, int64) error { return errors.ErrUnsupported }

// dropCache cannot have one run of a file come from the medium.
func dropCache(*os.File, int64, int64) error { return errors.ErrUnsupported }

// zeroOut, dropCaches and rereadTable are for devices, which are not written to here.
func zeroOut(*os.File, int64, int64) error { return errors.ErrUnsupported }

func dropCaches(*os.File) {}

func rereadTable(*os.File) error { return nil }
