package image

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// An able disk has every capability.
type able struct {
	Mem
	sequential bool
}

func (a *able) ReadSequentially()        { a.sequential = true }
func (a *able) Changed() error           { return ErrModified }
func (a *able) Cached(off, n int64) bool { return off == 512 && n == 1 }
func (a *able) SectorSize() int64        { return 512 }

func (a *able) ReadSectors(p []byte, off int64) (int, error) { return a.ReadAt(p, off) }

// A wrapper is a decorator without capabilities of its own.
type wrapper struct{ Disk }

func (w wrapper) Unwrap() Disk { return w.Disk }

// TestAs checks that each capability of a disk is found and used through each decorator.
func TestAs(t *testing.T) {
	behind := &able{Mem: Mem{Data: make([]byte, 4096)}}
	retrying := func(d Disk) Disk {
		d, err := NewRetrying(d, nil, RetryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for name, d := range map[string]Disk{
		"none":                behind,
		"wrapper":             wrapper{behind},
		"Retrying":            retrying(behind),
		"Retrying in wrapper": wrapper{retrying(wrapper{behind})},
	} {
		behind.sequential = false
		if seq, ok := As[Sequential](d); ok {
			seq.ReadSequentially()
		}
		if !behind.sequential {
			t.Errorf("%s: the disk was not made ready for a sequential reader", name)
		}
		if c, ok := As[ChangeDetector](d); !ok || !errors.Is(c.Changed(), ErrModified) {
			t.Errorf("%s: a change was not found", name)
		}
		if c, ok := As[Cached](d); !ok || !c.Cached(512, 1) || c.Cached(0, 1) {
			t.Errorf("%s: what is cached was not found", name)
		}
		if s, ok := As[Sectored](d); !ok || s.SectorSize() != 512 {
			t.Errorf("%s: the length of sectors was not found", name)
		}
		if _, ok := As[*Retrying](d); ok != strings.Contains(name, "Retrying") {
			t.Errorf("%s: a Retrying disk was found: %t", name, ok)
		}
		if found, ok := As[*able](d); !ok || found != behind {
			t.Errorf("%s: the disk itself was not found", name)
		}
	}
	if _, ok := As[Sequential](wrapper{Mem{}}); ok {
		t.Error("a capability was found that is not there")
	}
}

// TestSectorsRespectRescueMap checks that As finds no way around the ranges that a rescue map excludes.
func TestSectorsRespectRescueMap(t *testing.T) {
	known, err := ReadRescueMap(strings.NewReader("0 + 1\n0 512 +\n512 512 -\n1024 3072 +\n"))
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("x"), 4096)
	for name, disk := range map[string]Disk{"sectors": &able{Mem: Mem{Data: data}}, "no sectors": Mem{Data: data}} {
		d, err := NewRetrying(disk, known, RetryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s, ok := As[Sectored](wrapper{d})
		if !ok {
			t.Fatalf("%s: the disk cannot be read in sectors", name)
		}
		if n, err := s.ReadSectors(make([]byte, 1024), 0); n != 512 || !errors.Is(err, ErrExcluded) {
			t.Errorf("%s: read %d bytes, %v; want 512 and ErrExcluded", name, n, err)
		}
		if n, err := s.ReadSectors(make([]byte, 512), 1024); n != 512 || err != nil {
			t.Errorf("%s: read %d bytes, %v; want 512", name, n, err)
		}
	}
}
