package repo

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// findings are the results of reading a damaged repository in all ways.
type findings struct {
	open   []error // from Open, with either password
	load   []error // from LoadIndex and Load
	snaps  []error // from GetSnapshot
	report *Report // from Check; nil if the repository did not open
	names  *Report // from CheckNames; nil if it failed
}

// look reads all that a reader can. It fails the test on wrong bytes; the caller judges the errors.
func (x *sample) look(t *testing.T, s store.Store) (f findings) {
	t.Helper()
	ctx := context.Background()
	f.names, _ = CheckNames(ctx, s, 2, nil) // it fails if Open does
	var r *Repo
	for _, password := range []string{"pw", "second"} {
		got, err := Open(ctx, s, []byte(password))
		if err != nil {
			f.open = append(f.open, err)
		} else {
			r = got
		}
	}
	if r == nil {
		return f
	}
	if err := r.LoadIndex(ctx); err != nil {
		f.load = append(f.load, err)
	}
	for try := range 2 {
		for _, c := range x.chunks {
			if err := loadOne(r, c); errors.Is(err, errWrongBytes) {
				t.Errorf("chunk %v: %v", c.id, err)
			} else if err != nil {
				f.load = append(f.load, err)
			}
		}
		if try > 0 {
			break
		}
		for id, want := range x.snapshots {
			got, err := r.GetSnapshot(ctx, id)
			if err != nil {
				f.snaps = append(f.snaps, err)
			} else if strings.TrimRight(string(got), " ") != string(want) {
				t.Errorf("snapshot %v is %q", id, got)
			}
		}
		var err error
		if f.report, err = r.Check(ctx, CheckOptions{ReadPacks: true, ReadData: true}, nil); err != nil {
			t.Errorf("check: %v", err)
			return f
		}
	}
	return f
}

func mentions(errs []error, name string) bool {
	return slices.ContainsFunc(errs, func(err error) bool { return strings.Contains(err.Error(), name) })
}

func lists(r *Report, name string) bool {
	return r != nil && slices.ContainsFunc(r.Damage, func(s string) bool { return strings.Contains(s, name) })
}

// found reports whether the right function named the file: Open for what it reads, GetSnapshot for snapshots, which
// Check leaves to its caller, and Check for the rest.
func (f findings) found(name string) bool {
	switch layout.Dir(name) {
	case layout.Config, layout.Keys:
		return lists(f.report, name)
	case layout.Snapshots:
		return mentions(f.snaps, name)
	}
	return lists(f.report, name)
}

func TestUndamaged(t *testing.T) {
	x := newSample(t)
	f := x.look(t, storetest.MemOf(t, x.files))
	if len(f.open)+len(f.load)+len(f.snaps) > 0 || len(f.report.Damage)+len(f.names.Damage) > 0 {
		t.Fatalf("%+v", f)
	}
	if len(f.report.Notes)+len(f.report.Hints) > 0 {
		t.Errorf("notes %q, hints %q", f.report.Notes, f.report.Hints)
	}
	for _, r := range []*Report{f.report, f.names} {
		if r.Slots != 2 || r.Indexes != 2 || r.Packs != len(x.in(layout.Packs)) || r.Snapshots != 2 {
			t.Errorf("%d slots, %d index files, %d packs, %d snapshots", r.Slots, r.Indexes, r.Packs, r.Snapshots)
		}
	}
	if f.report.ReadBytes != f.report.PackBytes || f.report.PackBytes == 0 {
		t.Errorf("%d of %d bytes were read", f.report.ReadBytes, f.report.PackBytes)
	}
}

// TestSwapped swaps the bytes of two files of a kind.
func TestSwapped(t *testing.T) {
	x := newSample(t)
	for _, dir := range []string{layout.Keys, layout.Packs, layout.Index, layout.Snapshots} {
		y := x.clone()
		a, b := y.in(dir)[0], y.in(dir)[1]
		y.files[a], y.files[b] = y.files[b], y.files[a]
		f := y.look(t, storetest.MemOf(t, y.files))
		for _, name := range []string{a, b} {
			if dir != layout.Keys && !f.found(name) || !lists(f.names, name) {
				t.Errorf("%s swapped: no report names it: %+v", name, f)
			}
			if dir == layout.Keys && (len(f.open) != 2 || !mentions(f.open[:1], name) || !mentions(f.open[1:], name)) {
				t.Errorf("%s swapped: Open says %v", name, f.open)
			}
		}
	}
	other := newSample(t)
	y := x.clone()
	y.files[layout.Config] = other.files[layout.Config]
	if f := y.look(t, storetest.MemOf(t, y.files)); !f.found(layout.Config) || len(f.open) > 0 {
		t.Errorf("with another repository's config: %v", f.open)
	}
	// Whole files of another repository beside this one's.
	for _, dir := range []string{layout.Keys, layout.Packs, layout.Index, layout.Snapshots} {
		y := x.clone()
		name := other.in(dir)[0]
		y.files[name] = other.files[name]
		f := y.look(t, storetest.MemOf(t, y.files))
		switch {
		case dir == layout.Keys && len(f.open) > 0, dir == layout.Packs && len(f.load) > 0, dir == layout.Snapshots && len(f.snaps) > 0:
			t.Errorf("a file of another repository in %s does harm: %+v", dir, f)
		case dir == layout.Index && (!mentions(f.load, name) || !lists(f.report, name)):
			t.Errorf("another repository's index is not named: %+v", f)
		}
	}
}

func TestMissing(t *testing.T) {
	x := newSample(t)
	for _, dir := range []string{layout.Config, layout.Keys, layout.Packs, layout.Index, layout.Snapshots} {
		y := x.clone()
		name := y.in(dir)[0]
		delete(y.files, name)
		f := y.look(t, storetest.MemOf(t, y.files))
		ok := false
		switch dir {
		case layout.Config:
			ok = f.found(name) && len(f.open)+len(f.load) == 0 && lists(f.names, name)
		case layout.Keys:
			ok = len(f.open) == 1 && len(f.report.Damage) == 0
		case layout.Packs:
			ok = f.found(name) && mentions(f.load, name) && errors.Is(f.load[0], fs.ErrNotExist)
		case layout.Index: // no file refers to its name any more; its packs and chunks are missed
			var missing *MissingError
			ok = len(f.load) > 0 && errors.As(f.load[0], &missing) && len(f.report.Notes) == 1 && len(f.report.Damage) == 0
		case layout.Snapshots:
			ok = f.found(name) && errors.Is(f.snaps[0], fs.ErrNotExist) && len(f.report.Damage) == 0
		}
		if !ok {
			t.Errorf("%s missing: %+v", name, f)
		}
	}
}

// TestRenamed gives each kind of file a new name that looks like one of its kind.
func TestRenamed(t *testing.T) {
	x := newSample(t)
	ctx := context.Background()
	for _, dir := range []string{layout.Keys, layout.Packs, layout.Index, layout.Snapshots} {
		y := x.clone()
		name, id := y.in(dir)[0], pack.FileID{0xab, 0xcd}
		to := layout.Name(dir, id)
		if dir == layout.Packs {
			to = layout.PackName(id)
		}
		y.files[to] = y.files[name]
		delete(y.files, name)
		s := storetest.MemOf(t, y.files)
		f := y.look(t, s)
		if !lists(f.names, to) {
			t.Errorf("%s renamed: CheckNames does not name it: %+v", name, f.names)
		}
		ok := false
		switch dir {
		case layout.Keys:
			ok = len(f.open) == 1 && mentions(f.open, to) && lists(f.report, to)
		case layout.Packs:
			ok = f.found(name) && mentions(f.load, name)
		case layout.Index:
			ok = f.found(to) && mentions(f.load, to)
		case layout.Snapshots:
			_, err := reopen(t, s).GetSnapshot(ctx, id)
			ok = f.found(name) && errors.Is(err, pack.ErrDamaged) && strings.Contains(err.Error(), to)
		}
		if !ok {
			t.Errorf("%s renamed to %s: %+v", name, to, f)
		}
	}
	y := x.clone()
	for _, odd := range []string{"other", "keys/readme.txt", "packs/00/short", "index/" + strings.Repeat("0", 63), "packs/00/" + strings.Repeat("1", 64)} {
		y.files[odd] = []byte("odd")
	}
	f := y.look(t, storetest.MemOf(t, y.files))
	if len(f.open)+len(f.load)+len(f.snaps)+len(f.report.Damage) > 0 || len(f.report.Notes) != 5 {
		t.Errorf("files that do not belong: %+v", f)
	}
}
