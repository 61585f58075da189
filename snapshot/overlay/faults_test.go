package overlay

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"platter/snapshot/image"
)

// TestFaults fails every call that changes the file once, for every one: a write for lack of room, a sync for a broken
// medium. The call says so, and harms nothing else. A failed sync is never followed by one that succeeds falsely.
func TestFaults(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 4
	}
	for failing := 0; ; failing += stride {
		if !failOnce(t, failing) || t.Failed() {
			break
		}
	}
}

// failOnce fails one call. It returns false if there were fewer calls.
func failOnce(t *testing.T, failing int) (reached bool) {
	rng := rand.New(rand.NewPCG(4, 4))
	base := randomBase(rng, 9*unit+100)
	m := newModel(base)
	f := &memFile{}
	d, err := create(f, base, Binding{2}, smallJournal)
	must(t, err)
	f.calls = 0
	what := ""
	f.fail = func(call int, w string) error {
		if call != failing {
			return nil
		}
		what = w
		if w == "sync" {
			return syscall.EIO
		}
		return syscall.ENOSPC
	}
	broken := false
	for i := range 40 {
		o := randomOp(rng, base.Size())
		before := what
		err := m.do(d, o)
		switch {
		case o.kind == 's' && broken:
			if err == nil {
				t.Errorf("call %d, a %s, failed: a later sync succeeds", failing, what)
			}
		case what == "sync" && before == "":
			broken = true
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("call %d, a sync, failed: %v says %v", failing, o, err)
			}
		case what == "write" && before == "":
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("call %d, a write, failed: %v says %v", failing, o, err)
			}
			if o.kind != 's' {
				must(t, m.acceptRange(d, o))
			}
			// Only after a failed write of a header is it uncertain what counts.
			broken = d.file.failed != nil
		case err != nil:
			t.Errorf("call %d failed: later, %v says %v", failing, o, err)
		}
		if err := m.wantNow(d); err != nil {
			t.Fatalf("call %d, a %s, failed: after %v: %v", failing, what, o, err)
		}
		if i%4 > 0 {
			continue // saves time
		}
		if err := m.survives(f.lose(cut(rng.IntN(int(allCuts))), rng), rng); err != nil {
			t.Fatalf("call %d, a %s, failed: after %v and a power cut: %v", failing, what, o, err)
		}
	}
	return what != ""
}

// acceptRange takes what a failed call left of its range, which is old or new, for what is there now.
func (m *model) acceptRange(d *Disk, o op) error {
	for s := o.off / sector; s*sector < o.off+int64(len(o.data)); s++ {
		got := make([]byte, min(sector, m.base.Size()-s*sector))
		if _, err := d.ReadAt(got, s*sector); errors.Is(err, image.ErrUnreadable) {
			got = nil
		} else if err != nil && len(got) == sector {
			return err
		}
		m.now[s] = got
		m.since[s] = append(m.since[s], got)
	}
	for block := range blocksOf(d.size) {
		r, written := d.at(block, block+1)
		switch {
		case !written:
			delete(m.kinds, block)
		case r.unit == 0:
			m.kinds[block] = 'z'
		default:
			m.kinds[block] = 'w'
		}
	}
	return nil
}

// TestFull fills a file that cannot grow: writes fail, nothing that was there changes, and what was zeroed makes room.
func TestFull(t *testing.T) {
	base := image.Sparse{Bytes: 100 * unit, Fills: []image.Fill{{Off: 0, Len: 100 * unit, Seed: 1}}}
	f := &limitedFile{max: (headers + 2*smallJournal + 10) * unit}
	d, err := create(f, base, Binding{}, smallJournal)
	must(t, err)
	fillUp(t, d, 10)
	must(t, d.Zero(3*unit, 2*unit))
	must(t, d.Sync())
	p := make([]byte, 2*unit)
	if n, err := d.WriteAt(p, 80*unit); n != len(p) || err != nil {
		t.Errorf("a write into the room that Zero freed: %d, %v", n, err)
	}
	for range 10 { // journals are begun on a full disk
		_, err := d.WriteAt(p[:unit], 80*unit)
		must(t, err)
		must(t, d.Zero(80*unit, unit))
		must(t, d.Sync())
	}
}

// fillUp writes blocks from the front until there is no room, checks that all blocks are what they should be, and syncs.
func fillUp(t *testing.T, d *Disk, atMost int64) {
	t.Helper()
	block := func(i int64) []byte {
		p := make([]byte, unit)
		image.Sparse{Bytes: unit, Fills: []image.Fill{{Len: unit, Seed: uint64(i) + 7}}}.ReadAt(p, 0)
		return p
	}
	full := int64(0)
	for ; ; full++ {
		n, err := d.WriteAt(block(full), full*unit)
		if errors.Is(err, syscall.ENOSPC) && n == 0 {
			break
		}
		must(t, err)
		if full > atMost {
			t.Fatalf("%d blocks have room", full)
		}
	}
	for i := range d.Size() / unit {
		got, want := make([]byte, unit), make([]byte, unit)
		if i < full {
			want = block(i)
		} else if _, err := d.base.ReadAt(want, i*unit); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadAt(got, i*unit); err != nil || string(got) != string(want) {
			t.Fatalf("block %d of %d is wrong on a full disk, %v", i, full, err)
		}
	}
	if _, err := d.WriteAt(block(1), unit); err != nil {
		t.Errorf("a write in place on a full disk: %v", err)
	}
	must(t, d.Sync())
}

// limitedFile has no room past a length.
type limitedFile struct {
	memFile
	max int64
}

func (f *limitedFile) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.max {
		n, _ := f.memFile.WriteAt(p[:max(0, f.max-off)], off)
		return n, syscall.ENOSPC
	}
	return f.memFile.WriteAt(p, off)
}
