package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// wounds returns damaged versions of a pack that parity of 30 % can mend.
func wounds(data []byte) map[string][]byte {
	out := map[string][]byte{
		"cut off": data[:len(data)*4/5], "a block less": data[:len(data)-parity.Sector], "a block more": append(slices.Clone(data), make([]byte, 4096)...),
		"a bit in the header": flipped(data, 3), "a bit in the table": flipped(data, len(data)-60), "a bit at the end": flipped(data, len(data)-1),
	}
	for _, at := range []int{0, len(data) / 3, len(data) / 2} {
		bad := slices.Clone(data)
		clear(bad[at : at+3*parity.Sector])
		out[fmt.Sprintf("zeros at %d", at)] = bad
		out[fmt.Sprintf("a bit at %d", at)] = flipped(data, at+20)
	}
	return out
}

// TestMendedReads checks that reads succeed where parity mends the damage, and that the damage is reported.
func TestMendedReads(t *testing.T) {
	x := newParitySample(t)
	name := x.packs()[0]
	for wound, bad := range wounds(x.files[name]) {
		y := x.clone()
		y.files[name] = bad
		r := reopen(t, storetest.MemOf(t, y.files))
		wantLoads(t, r, x.chunks)
		if healed := r.Healed(); len(healed) > 1 || len(healed) == 1 && !strings.HasPrefix(healed[0], name+": ") {
			t.Errorf("%s: healed %q", wound, healed)
		} else if strings.HasPrefix(wound, "zeros at") && len(healed) == 0 {
			t.Errorf("%s: no warning", wound)
		}
		for _, o := range []CheckOptions{{ReadPacks: true}, {ReadData: true}} {
			report, err := r.Check(t.Context(), o, nil)
			if err != nil || !lists(report, name) || !slices.Contains(report.Hints, hintMend) {
				t.Errorf("%s, %+v: %v, %+v", wound, o, err, report)
				continue
			}
			for _, line := range report.Damage {
				if !strings.Contains(line, "it can be mended from its parity file") {
					t.Errorf("%s: %q", wound, line)
				}
			}
			for _, c := range x.chunks {
				if err := report.ChunkError(c.id); err != nil {
					t.Errorf("%s: chunk %v counts for lost: %v", wound, c.id, err)
				}
			}
			wantLoads(t, r, x.chunks)
		}
	}
}

// TestBeyondMending checks that damage beyond the parity is an error that says so, and that Check reports the chunks as
// lost.
func TestBeyondMending(t *testing.T) {
	x := newParitySample(t)
	name := x.packs()[0]
	clear(x.files[name][len(x.files[name])/3:])
	r := reopen(t, storetest.MemOf(t, x.files))
	lost := 0
	for _, c := range x.chunks {
		if err := loadOne(r, c); err != nil {
			lost++
			if !errors.Is(err, pack.ErrDamaged) || !errors.Is(err, parity.ErrTooDamaged) || !strings.HasPrefix(err.Error(), name) {
				t.Errorf("%v", err)
			}
		}
	}
	report, err := r.Check(t.Context(), CheckOptions{ReadData: true}, nil)
	if err != nil || !lists(report, name) || slices.Contains(report.Hints, hintMend) {
		t.Errorf("%v, %+v", err, report)
	}
	bad := 0
	for _, c := range x.chunks {
		if report.ChunkError(c.id) != nil {
			bad++
		}
	}
	if lost == 0 || bad != lost || len(r.Healed()) > 0 {
		t.Errorf("%d chunks are lost, Check says %d; healed %q", lost, bad, r.Healed())
	}
}

// unreadable returns a store in which some ranges of files cannot be read: from, to.
func unreadable(s store.Store, names []string, ranges [][2]int64) *storetest.Faulty {
	return &storetest.Faulty{Store: s, Got: func(_ context.Context, name string, off int64, data []byte) error {
		for _, p := range ranges {
			if slices.Contains(names, name) && off < p[1] && p[0] < off+int64(len(data)) {
				return fmt.Errorf("get %s: %w", name, syscall.EIO)
			}
		}
		return nil
	}}
}

// TestUnreadableSectors reads around unreadable sectors, in the pack and in its parity file.
func TestUnreadableSectors(t *testing.T) {
	x := newParitySample(t)
	name := x.packs()[0]
	size, par := int64(len(x.files[name])), int64(len(x.files[name+layout.ParityEnd]))
	last := (size - 1) / parity.Sector * parity.Sector
	for _, at := range [][][2]int64{
		{{0, 1}},
		{{last, size}},
		{{5000, 5001}, {70_000, 90_000}, {300_000, 300_001}},
		{{0, 4096}, {par - 8192, par - 4096}}, // the parity file has two copies of its table, and one suffices
	} {
		for _, of := range [][]string{{name}, {name + layout.ParityEnd}, {name, name + layout.ParityEnd}} {
			r := reopen(t, unreadable(storetest.MemOf(t, x.files), of, at))
			wantLoads(t, r, x.chunks)
			m, err := r.mend(t.Context(), pack.Sum(x.files[name]))
			if err != nil || pack.Sum(m.file) != m.id {
				t.Fatalf("%s, %v: %v", of, at, err)
			}
		}
	}
	s := unreadable(storetest.MemOf(t, x.files), []string{name}, [][2]int64{{0, size}})
	r := reopen(t, s)
	before := s.Ops()
	if _, err := r.mend(t.Context(), pack.Sum(x.files[name])); !errors.Is(err, syscall.EIO) || s.Ops()-before > 300 {
		t.Errorf("of a store that gives nothing: %v after %d calls", err, s.Ops()-before)
	}
	err := loadOne(r, x.inPack(t, r, name))
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), name) {
		t.Errorf("the first error is %v", err)
	}
}

// inPack returns a chunk in a pack.
func (x *sample) inPack(t *testing.T, r *Repo, name string) saved {
	t.Helper()
	for _, c := range x.chunks {
		if at, ok := r.view().index.Lookup(c.id); ok && layout.PackName(at.Pack) == name && c.kind == chunk.Data {
			return c
		}
	}
	t.Fatalf("no chunk is in %s", name)
	return saved{}
}

// TestMendedOnce checks that goroutines that need the same damaged pack mend it once and share the result.
func TestMendedOnce(t *testing.T) {
	x := newParitySample(t)
	name := x.packs()[0]
	for at := 100; at < len(x.files[name]); at += 16 * parity.Sector {
		x.files[name][at] ^= 1
	}
	var parities atomic.Int64
	r := reopen(t, storetest.MemOf(t, x.files))
	r.setStore(&storetest.Faulty{Store: r.view().store, Fail: func(_, name string) error {
		if strings.HasSuffix(name, layout.ParityEnd) {
			parities.Add(1)
		}
		return nil
	}})
	b := &funcBatch{load: func(context.Context, []Got) error { return nil }}
	for _, c := range x.chunks {
		if c.kind == chunk.Data {
			b.wants = append(b.wants, Want{ID: c.id})
		}
	}
	if err := fetch(t.Context(), r, b); err != nil {
		t.Fatal(err)
	}
	if n := parities.Load(); n != 1 || len(r.Healed()) != 1 {
		t.Errorf("parity was read %d times; %q", n, r.Healed())
	}
}

// twice makes a repository in which every chunk is in two packs, as two concurrent writers leave it.
func twice(t *testing.T) (mem *store.Mem, chunks []saved, packs [2][]pack.FileID) {
	t.Helper()
	mem = new(store.Mem)
	testRepo(t, mem)
	both := [2]*Repo{reopen(t, mem), reopen(t, mem)}
	known := map[pack.FileID]bool{}
	for i, r := range both {
		chunks = mustSave(t, r, noiseChunks(4, 40, 60000))
		for _, p := range r.view().index.Packs() {
			if !known[p.ID] {
				known[p.ID] = true
				packs[i] = append(packs[i], p.ID)
			}
		}
		both[1].change(func(v *view) { v.loaded = nil }) // so that it does not see what the first has written
	}
	if len(packs[0]) < 2 || len(packs[1]) < 2 {
		t.Fatalf("packs of the two: %v", packs)
	}
	return mem, chunks, packs
}

// TestOtherCopies checks that a chunk is read from another pack that holds it.
func TestOtherCopies(t *testing.T) {
	mem, chunks, packs := twice(t)
	files := storetest.Files(t, mem)
	for _, mine := range packs {
		for name, hurt := range map[string]func(files map[string][]byte, name string){
			"missing": func(files map[string][]byte, name string) { delete(files, name) },
			"cut off": func(files map[string][]byte, name string) { files[name] = files[name][:5000] },
			"zeroed":  func(files map[string][]byte, name string) { files[name] = make([]byte, len(files[name])) },
		} {
			hurtFiles := maps.Clone(files)
			for _, id := range mine {
				hurt(hurtFiles, layout.PackName(id))
			}
			late := reopen(t, storetest.MemOf(t, hurtFiles))
			early := reopen(t, storetest.MemOf(t, files))
			early.setStore(late.view().store) // its index shows no loss
			for _, r := range []*Repo{late, early} {
				wantLoads(t, r, chunks)
			}
			for _, line := range append(early.Healed(), late.Healed()...) {
				if !strings.Contains(line, "read from another copy") || strings.Contains(line, "missing") != (name == "missing") {
					t.Errorf("%s: %q", name, line)
				}
			}
			report, err := late.Check(t.Context(), CheckOptions{ReadData: true}, nil)
			if err != nil || len(report.Damage) < len(mine) {
				t.Errorf("%s: %v, %q", name, err, report.Damage)
			}
			for _, c := range chunks {
				if err := report.ChunkError(c.id); err != nil {
					t.Errorf("%s: chunk %v counts for lost: %v", name, c.id, err)
				}
			}
		}
	}
	// One place of each chunk is damaged, and both places of some.
	for _, id := range append(packs[0], packs[1][0]) {
		files[layout.PackName(id)] = make([]byte, len(files[layout.PackName(id)]))
	}
	r := reopen(t, storetest.MemOf(t, files))
	lost := 0
	for _, c := range chunks {
		if err := loadOne(r, c); err != nil {
			lost++
		}
	}
	if lost == 0 || lost == len(chunks) {
		t.Errorf("%d of %d chunks are lost", lost, len(chunks))
	}
}

// movePacks does what a prune does when it copies all chunks into new packs. It puts the packs, replaces their index
// files, and then deletes the old packs.
func movePacks(t *testing.T, mem *store.Mem, chunks []saved) {
	t.Helper()
	ctx := t.Context()
	r := reopen(t, mem)
	var old []pack.FileID
	for _, p := range r.view().index.Packs() {
		old = append(old, p.ID)
	}
	files, err := layout.List(ctx, mem, layout.Index)
	if err != nil {
		t.Fatal(err)
	}
	save := func(ctx context.Context, w *Writer) error {
		lane, maps := w.Lane(), w.lane(chunk.Map)
		for _, c := range chunks {
			to := lane
			if c.kind == chunk.Map {
				to = maps
			}
			if err := to.Save(ctx, c.id, c.data); err != nil {
				return err
			}
		}
		return errors.Join(lane.Close(ctx), maps.Close(ctx))
	}
	err = r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		r.change(func(v *view) { v.index = new(index.Index) }) // so that no chunk is known
		_, err := r.write(ctx, save)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := mem.Delete(ctx, layout.Name(layout.Index, f.ID)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range old {
		if err := mem.Delete(ctx, layout.PackName(id)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadWhilePruned checks that a reader finds chunks that a prune has moved, twice, and that this counts as no
// damage.
func TestReadWhilePruned(t *testing.T) {
	x := newSample(t)
	mem := storetest.MemOf(t, x.files)
	for _, cache := range []string{"", t.TempDir()} {
		r := reopen(t, mem)
		if cache != "" {
			r = reopenCached(t, mem, cache)
		}
		for range 2 {
			movePacks(t, mem, x.chunks)
			listings := atomic.Int64{}
			r.setStore(&storetest.Faulty{Store: r.view().store, Fail: func(op, name string) error {
				if op == "list" && name == layout.Packs {
					listings.Add(1)
				}
				return nil
			}})
			r.maps.Purge()
			wantLoads(t, r, x.chunks)
			if n := listings.Load(); n != 1 {
				t.Errorf("the index was loaded %d times", n)
			}
		}
		if healed := r.Healed(); len(healed) > 0 {
			t.Errorf("%q is said to be damage", healed)
		}
	}
	// A missing pack stays an error, and does not load an index.
	r := reopen(t, mem)
	for _, p := range r.view().index.Packs() {
		if err := mem.Delete(t.Context(), layout.PackName(p.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if err := loadOne(r, x.chunks[0]); !errors.Is(err, fs.ErrNotExist) || r.newer.index != nil {
		t.Errorf("of a pack that is missing: %v", err)
	}
}

// TestRescueEveryOpFails fails each call of reads that need a rescue. They return the right bytes or the store's error.
func TestRescueEveryOpFails(t *testing.T) {
	x := newParitySample(t)
	name := x.packs()[0]
	x.files[name] = flipped(x.files[name], len(x.files[name])/2)
	for i := int64(0); ; i++ {
		r := reopen(t, storetest.MemOf(t, x.files))
		s := &storetest.Faulty{Store: r.view().store, Fail: storetest.After(i, errBroken)}
		r.setStore(s)
		failed := false
		for _, c := range x.chunks {
			if err := loadOne(r, c); errors.Is(err, errWrongBytes) {
				t.Fatalf("call %d: %v", i, err)
			} else if err != nil {
				failed = true
			}
		}
		if s.Ops() <= i {
			if failed {
				t.Error("it fails without a fault")
			}
			return
		}
	}
}

// TestCancelledRescue checks that the error of an ended context is returned as such.
func TestCancelledRescue(t *testing.T) {
	x := newParitySample(t)
	name := x.packs()[0]
	clear(x.files[name][4096:40960])
	r := reopen(t, storetest.MemOf(t, x.files))
	c := x.inPack(t, r, name)
	ctx, cancel := context.WithCancel(t.Context())
	r.setStore(&storetest.Faulty{Store: r.view().store, Lose: func(_, name string) error {
		if strings.HasSuffix(name, layout.ParityEnd) {
			cancel()
		}
		return nil
	}})
	err := r.Load(ctx, c.kind, []chunk.ID{c.id}, func(int, []byte) error { return nil })
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := loadOne(r, c); err != nil { // and is not remembered
		t.Errorf("after that: %v", err)
	}
}

// TestHealedMaps checks that damage found while reading maps, which Check did not look for, counts as damage.
func TestHealedMaps(t *testing.T) {
	x := newParitySample(t)
	r := reopen(t, storetest.MemOf(t, x.files))
	at := slices.IndexFunc(x.chunks, func(c saved) bool { return c.kind == chunk.Map })
	loc, _ := r.view().index.Lookup(x.chunks[at].id)
	name := layout.PackName(loc.Pack)
	x.files[name] = flipped(x.files[name], int(loc.Offset)+50)
	r = reopen(t, storetest.MemOf(t, x.files))
	report, err := r.Check(t.Context(), CheckOptions{}, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Fatalf("%v, %q", err, report.Damage)
	}
	wantLoads(t, r, x.chunks[at:at+1])
	for range 2 { // reported once
		if report.AddHealed(r.Healed()); len(report.Damage) != 1 || !lists(report, name) || !slices.Contains(report.Hints, hintMend) {
			t.Errorf("%q, %q", report.Damage, report.Hints)
		}
	}
}
