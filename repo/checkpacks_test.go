package repo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store/storetest"
)

// TestReadPacks checks that the pack's name alone reveals a bit flipped inside a frame, without opening frames.
func TestReadPacks(t *testing.T) {
	x := newSample(t)
	name := x.in(layout.Packs)[0]
	x.files[name][len(x.files[name])/2] ^= 1
	r := reopen(t, storetest.MemOf(t, x.files))
	for _, o := range []CheckOptions{{}, {ReadPacks: true}, {ReadData: true}, {ReadPacks: true, Sample: 1}} {
		report, err := r.Check(context.Background(), o, nil)
		if want := o.ReadPacks || o.ReadData; err != nil || lists(report, name) != want || (report.ReadBytes > 0) != want {
			t.Errorf("%+v: %v, %d bytes read, %q", o, err, report.ReadBytes, report.Damage)
		}
	}
}

// TestMovedFrames swaps two frames of one key and one length. Both open, and only the chunk IDs reveal the swap.
func TestMovedFrames(t *testing.T) {
	x := newSample(t)
	r := reopen(t, storetest.MemOf(t, x.files))
	var first, second saved
	for _, a := range x.chunks {
		at, _ := r.view().index.Lookup(a.id)
		for _, b := range x.chunks {
			bt, _ := r.view().index.Lookup(b.id)
			if at.Pack == bt.Pack && at.Offset < bt.Offset && at.Frame == bt.Frame {
				first, second = a, b
			}
		}
	}
	at, _ := r.view().index.Lookup(first.id)
	bt, ok := r.view().index.Lookup(second.id)
	if !ok {
		t.Fatal("no two frames of a pack are alike")
	}
	name, n := layout.PackName(at.Pack), int64(at.Frame.Sealed)
	bad := slices.Clone(x.files[name])
	copy(bad[at.Offset:], x.files[name][bt.Offset:][:n])
	copy(bad[bt.Offset:], x.files[name][at.Offset:][:n])
	y := x.clone()
	y.files[name] = bad
	s := storetest.MemOf(t, y.files)
	r = reopen(t, s)
	for _, c := range []saved{first, second} {
		if err := loadOne(r, c); !errors.Is(err, pack.ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("chunk of a moved frame: %v", err)
		}
	}
	f := y.look(t, s)
	if !lists(f.report, first.id.String()) || !lists(f.report, second.id.String()) || f.report.ChunkError(first.id) == nil {
		t.Errorf("Check does not tell which chunks cannot be had: %q", f.report.Damage)
	}
	for _, c := range x.chunks {
		loc, _ := r.view().index.Lookup(c.id)
		if moved := loc.Pack == at.Pack && (loc.Offset == at.Offset || loc.Offset == bt.Offset); (f.report.ChunkError(c.id) != nil) != moved {
			t.Errorf("chunk %v, in a moved frame: %v, is said to be bad: %v", c.id, moved, f.report.ChunkError(c.id))
		}
	}
}
