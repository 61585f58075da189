package image

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// mediumErrors are the errors that drivers return for an unreadable sector.
var mediumErrors = [...]error{
	windows.ERROR_CRC, windows.ERROR_SECTOR_NOT_FOUND, windows.ERROR_READ_FAULT, windows.ERROR_IO_DEVICE,
	windows.ERROR_DEVICE_HARDWARE_ERROR,
	syscall.EIO, // not returned by drivers, but perhaps by disks implemented in Go
}
