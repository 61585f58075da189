package image

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// mediumErrors are what drivers say of a sector that cannot be read.
var mediumErrors = [...]error{
	windows.ERROR_CRC, windows.ERROR_SECTOR_NOT_FOUND, windows.ERROR_READ_FAULT, windows.ERROR_IO_DEVICE,
	windows.ERROR_DEVICE_HARDWARE_ERROR,
	syscall.EIO, // which no driver says, but disks written in Go may
}
