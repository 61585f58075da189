package image

import "golang.org/x/sys/unix"

// mediumErrors are the errors for an unreadable place. The block layer returns them for a failed request, and file
// systems for a block with a wrong checksum. ENODEV, ENXIO and ENOMEDIUM are not among them: the device is missing. Nor
// is ENOLINK: the path to it is missing.
var mediumErrors = [...]error{
	unix.EIO, unix.ENODATA /* "critical medium error" */, unix.EILSEQ, unix.EREMOTEIO, unix.ETIMEDOUT, unix.ETIME,
	unix.EBADMSG, unix.EUCLEAN,
}
