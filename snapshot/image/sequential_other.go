//go:build !linux

package image

// ReadSequentially does nothing: on this system the read-ahead and cache work as for every file.
func (d *File) ReadSequentially() {}

// Cached returns false: this system does not report what it caches.
func (d *File) Cached(off, n int64) bool { return false }
