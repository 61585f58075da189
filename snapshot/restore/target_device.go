package restore

import (
	"cmp"
	"errors"
	"fmt"
	"iter"

	"platter/chunk"
	"platter/snapshot/image"
)

// A deviceTarget is a block device. What is on it is not known before it is read.
type deviceTarget struct {
	blocks
	size int64 // bytes
}

var _ target = (*deviceTarget)(nil)

// newDeviceTarget returns a target of which only the second descriptor is its own.
func newDeviceTarget(d *Device) *deviceTarget {
	grain := cmp.Or(d.Identity.SectorSize, chunk.Block)
	return &deviceTarget{blocks{file: d.file, direct: reopenDirect(d.file, !d.readOnly), grain: grain}, d.Size}
}

// Close leaves the device itself open.
func (t *deviceTarget) Close() error {
	if t.direct == nil {
		return nil
	}
	return t.direct.Close()
}

func (t *deviceTarget) Size() int64 { return t.size }

func (t *deviceTarget) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) { yield(image.Extent{Len: t.size}, nil) }
}

func (t *deviceTarget) WriteAt(p []byte, off int64) (int, error) {
	n, err := t.blocks.WriteAt(p, off)
	if err != nil {
		return n, fmt.Errorf("the device did not take %d bytes at %d: %w", len(p), off, err)
	}
	return n, nil
}

// Zero has the device zero whole sectors by itself, and writes what is left at the ends.
func (t *deviceTarget) Zero(off, n int64) error {
	end := off + n
	from, to := (off+t.grain-1)/t.grain*t.grain, end/t.grain*t.grain
	if from >= to {
		return writeZeros(t, off, n)
	}
	err := zeroOut(t.file, from, to-from)
	if errors.Is(err, errors.ErrUnsupported) {
		return writeZeros(t, off, n)
	}
	return cmp.Or(err, writeZeros(t, off, from-off), writeZeros(t, to, end-to))
}

// DropCache says that nothing is to be proved before all of it is written. A device that pretends to be larger than it is, as
// counterfeit flash does, writes what lies beyond its end over what it had taken before; so that is only to be seen then.
func (t *deviceTarget) DropCache(int64, int64) error { return errors.ErrUnsupported }

// Sync makes what was written durable, and has it come from the device when it is read next.
func (t *deviceTarget) Sync() error {
	if err := t.blocks.Sync(); err != nil {
		return fmt.Errorf("the device did not keep what was written: %w", err)
	}
	dropCaches(t.file)
	return nil
}
