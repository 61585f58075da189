//go:build !linux

package image

// A sectorReader does nothing: on this system single sectors cannot be read.
type sectorReader struct{}

func (sectorReader) close() error { return nil }

// SectorSize returns the unit in which the system reads.
func (d *File) SectorSize() int64 { return Alignment }

// ReadSectors reads through the system's cache.
func (d *File) ReadSectors(p []byte, off int64) (int, error) { return d.ReadAt(p, off) }
