package image

import "golang.org/x/sys/unix"

// mediumErrors are what the block layer makes of a request that the medium did not answer, and file systems of a block
// whose checksum is wrong. Not among them: ENODEV, ENXIO and ENOMEDIUM, the device is missing; ENOLINK, the way to it is.
var mediumErrors = [...]error{
	unix.EIO, unix.ENODATA /* "critical medium error" */, unix.EILSEQ, unix.EREMOTEIO, unix.ETIMEDOUT, unix.ETIME,
	unix.EBADMSG, unix.EUCLEAN,
}
