//go:build !linux

package image

// Forget does nothing: this system cannot drop the cache of one file.
func (d *File) Forget() error { return nil }
