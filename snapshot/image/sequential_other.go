//go:build !linux

package image

// ReadSequentially changes nothing: here the system's own read-ahead and cache do what they do for every file.
func (d *File) ReadSequentially() {}

// Cached returns false: this system does not say what it caches.
func (d *File) Cached(off, n int64) bool { return false }
