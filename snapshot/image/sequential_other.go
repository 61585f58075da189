//go:build !linux

package image

// ReadSequentially changes nothing: here the system's own read-ahead and cache do what they do for every file.
func (d *File) ReadSequentially() {}

// Cached says no: here nobody can be asked.
func (d *File) Cached(off, n int64) bool { return false }
