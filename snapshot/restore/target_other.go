//go:build !linux

package restore

import (
	"errors"
	"os"
)

// openDirect returns nil: on this system no gain is known.
func openDirect(*os.File) *os.File { return nil }

func reopenDirect(*os.File, bool) *os.File { return nil }

func onPage([]byte) bool { return false }

func isInvalid(error) bool { return false }

func startWriting(*os.File, int64, int64) {}

// punch makes no hole: the caller writes zeros.
func punch(*os.File, int64, int64) error { return errors.ErrUnsupported }

// dropCache is unsupported on this system.
func dropCache(*os.File, int64, int64) error { return errors.ErrUnsupported }

// zeroOut is for devices, which platter does not write to on this system.
func zeroOut(*os.File, int64, int64) error { return errors.ErrUnsupported }

func dropCaches(*os.File) {}

func rereadTable(*os.File) error { return nil }
