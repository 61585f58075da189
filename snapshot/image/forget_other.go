//go:build !linux

package image

// Forget does nothing: here the system cannot be asked to drop what it caches of one file.
func (d *File) Forget() error { return nil }
