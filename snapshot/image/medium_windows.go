package image

import "golang.org/x/sys/windows"

// mediumErrors are what drivers say of a sector that cannot be read.
var mediumErrors = [...]error{
	windows.ERROR_CRC, windows.ERROR_SECTOR_NOT_FOUND, windows.ERROR_READ_FAULT, windows.ERROR_IO_DEVICE,
	windows.ERROR_DEVICE_HARDWARE_ERROR,
}
