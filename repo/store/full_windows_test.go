package store_test

import (
	"testing"

	"golang.org/x/sys/windows"
)

func TestFull(t *testing.T) {
	testFull(t, windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL)
}
