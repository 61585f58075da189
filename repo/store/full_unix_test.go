//go:build unix

package store_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestFull(t *testing.T) {
	testFull(t, unix.ENOSPC, unix.EDQUOT)
}
