//go:build !linux

package image

// A sectorReader reads single sectors from the medium: not here.
type sectorReader struct{}

func (sectorReader) close() error { return nil }

// SectorSize is the length of what the system reads at once.
func (d *File) SectorSize() int64 { return Alignment }

// ReadSectors reads through the system's cache.
func (d *File) ReadSectors(p []byte, off int64) (int, error) { return d.ReadAt(p, off) }
