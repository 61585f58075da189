package restore

import (
	"cmp"
	"errors"
	"fmt"
	"iter"

	"platter/chunk"
	"platter/snapshot/image"
)

// A deviceTarget is a block device. Its content is not known before it is read.
type deviceTarget struct {
	blocks
	size int64 // bytes
}

var _ target = (*deviceTarget)(nil)

// newDeviceTarget returns a target that owns only its direct descriptor.
func newDeviceTarget(d *Device) *deviceTarget {
	grain := cmp.Or(d.Identity.SectorSize, chunk.Block)
	return &deviceTarget{blocks{file: d.file, direct: reopenDirect(d.file, !d.readOnly), grain: grain}, d.Size}
}

// Close does not close the device itself.
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

// Zero has the device zero whole sectors itself, and writes zeros at the ends.
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

// DropCache is unsupported, so verification waits until all is written. A counterfeit flash device claims more than its
// size, and writes beyond its real end overwrite earlier data. Only a read at the end finds that.
func (t *deviceTarget) DropCache(int64, int64) error { return errors.ErrUnsupported }

// Sync makes written data durable, and makes the next read come from the device.
func (t *deviceTarget) Sync() error {
	if err := t.blocks.Sync(); err != nil {
		return fmt.Errorf("the device did not keep what was written: %w", err)
	}
	dropCaches(t.file)
	return nil
}
