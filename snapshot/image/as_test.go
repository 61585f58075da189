package image_test

import (
	"errors"
	"io"
	"testing"

	"platter/snapshot/image"
)

// able is a disk with every optional capability.
type able struct {
	image.Mem
	sequential bool
}

var errChanged = errors.New("changed")

func (a *able) ReadSequentially()        { a.sequential = true }
func (a *able) Changed() error           { return errChanged }
func (a *able) Cached(off, _ int64) bool { return off == 1 }
func (a *able) SectorSize() int64        { return 512 }
func (a *able) Close() error             { return nil }
func (a *able) ReadSectors(p []byte, off int64) (int, error) {
	return a.ReadAt(p, off)
}

// passing is a decorator of a caller's own.
type passing struct{ image.Disk }

func (p passing) Unwrap() image.Disk { return p.Disk }

// TestCapabilities finds every capability through decorators, and none through a disk that only embeds another.
func TestCapabilities(t *testing.T) {
	retrying := func(d image.Disk) image.Disk {
		r, err := image.NewRetrying(d, nil, image.RetryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, test := range []struct {
		name     string
		decorate func(image.Disk) image.Disk
		found    bool
	}{
		{"none", func(d image.Disk) image.Disk { return d }, true},
		{"retrying", retrying, true},
		{"a caller's own", func(d image.Disk) image.Disk { return passing{d} }, true},
		{"a caller's own before retrying", func(d image.Disk) image.Disk { return passing{retrying(d)} }, true},
		{"one that is no decorator", func(d image.Disk) image.Disk { return struct{ image.Disk }{d} }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := &able{Mem: image.Mem{Data: make([]byte, 4096)}}
			d := test.decorate(a)
			seq, ok := image.As[image.Sequential](d)
			if ok {
				seq.ReadSequentially()
			}
			if ok != test.found || a.sequential != test.found {
				t.Errorf("Sequential: found %v, used %v", ok, a.sequential)
			}
			if c, ok := image.As[image.ChangeDetector](d); ok != test.found || ok && !errors.Is(c.Changed(), errChanged) {
				t.Errorf("ChangeDetector: found %v", ok)
			}
			if c, ok := image.As[image.Cached](d); ok != test.found || ok && (!c.Cached(1, 1) || c.Cached(2, 1)) {
				t.Errorf("Cached: found %v", ok)
			}
			if s, ok := image.As[image.Sectored](d); ok != test.found || ok && s.SectorSize() != 512 {
				t.Errorf("Sectored: found %v", ok)
			}
			if _, ok := image.As[io.Closer](d); ok != test.found {
				t.Errorf("io.Closer: found %v", ok)
			}
		})
	}
	behind := passing{retrying(new(image.Mem))}
	if _, ok := image.As[*image.Retrying](behind); !ok {
		t.Error("a Retrying behind a decorator is not found")
	}
	if _, ok := image.As[image.Sequential](image.Disk(nil)); ok {
		t.Error("no disk has a capability")
	}
}
