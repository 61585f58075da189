package repo

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/store"
)

// seen is what check says of a fault.
type seen int

const (
	damage seen = iota // it names the file, and no other, as damaged
	noted              // it has a note of it, and calls nothing damaged
	silent             // it says nothing, since nothing is wrong or nobody can know
	closed             // nothing opens, and the error names the file
)

// A mishap is one that can befall any file.
type mishap int

const (
	bitFlipped mishap = iota // a bit of it, in many places
	truncated
	extended
	zeroed
	missing
	duplicated // under another name that looks like one of its kind
	renamed    // to such a name
	swapped    // with another of its kind
	faults     // so many
)

func (f mishap) String() string {
	return []string{"a bit flipped", "truncated", "extended", "zeroed", "missing", "duplicated", "renamed", "swapped"}[f]
}

// TestDamage lets every fault befall every kind of file, and holds what check says of it, that no chunk and no snapshot ever
// comes as other bytes, that those are to be had which the fault cannot touch, and that the next command works: at once, or
// after the one that it says to run.
func TestDamage(t *testing.T) {
	table := []struct {
		kind string
		seen [faults]seen // flipped, truncated, extended, zeroed, missing, duplicated, renamed, swapped
	}{
		{"config", [faults]seen{closed, closed, closed, closed, closed, noted, closed, closed}}, // swapped with another repository's
		{"key", [faults]seen{damage, damage, damage, damage, silent, damage, damage, closed}},   // swapped, none opens
		{"pack", [faults]seen{damage, damage, damage, damage, damage, damage, damage, damage}},
		{"parity", [faults]seen{damage, damage, damage, damage, noted, noted, noted, damage}},
		{"index", [faults]seen{damage, damage, damage, damage, noted, damage, damage, damage}}, // missing: packs are in none
		// A snapshot that is missing is missed by the machines that have seen it: cmd/platter, seen.txtar.
		{"snapshot", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// Without it its holder commits nothing, and his pending file is one of nobody.
		{"lease", [faults]seen{damage, damage, damage, damage, noted, damage, damage, damage}},
		// Without it a prune waits for its lease.
		{"second file of a lease", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// Without it the packs are announced anew.
		{"plan", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// Without it the next check finds the same packs.
		{"plan of damaged packs", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// Nothing is in it yet that anybody was promised. Once it is moved to its name, it is an index file or a snapshot.
		{"pending", [faults]seen{silent, silent, silent, silent, silent, noted, noted, silent}},
		// Without it other machines ask where those snapshots are.
		{"record", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// Nobody reads it, whatever is in it.
		{"leftover", [faults]seen{noted, noted, noted, noted, silent, noted, noted, noted}},
	}
	x := newDamageSample(t)
	count := 0
	for _, row := range table {
		for f := range faults {
			for n, d := range x.befall(row.kind, f) {
				if testing.Short() && n > 0 {
					break
				}
				count++
				x.suffer(t, row.kind, f, d, row.seen[f], n == 0)
			}
		}
	}
	t.Logf("%d kinds of files, %d faults, %d repositories", len(table), faults, count)
}

// A damageSample is a sample with two of every kind of file there is, and a clock.
type damageSample struct {
	*sample
	kinds map[string][2]string // names of files
	other map[string][]byte    // another repository's files
	hours time.Duration        // that have gone by
}

func newDamageSample(t *testing.T) *damageSample {
	t.Helper()
	ctx := t.Context()
	x := &damageSample{sample: &sample{snapshots: map[pack.ID][]byte{}}, kinds: map[string][2]string{}, other: newSample(t).files}
	mem := new(store.Mem)
	settings := DefaultSettings
	settings.FrameSize, settings.PackSize, settings.Parity = minFrameSize, MinPackSize, 300
	if _, err := Init(ctx, mem, []byte("pw"), cheap, "test", settings); err != nil {
		t.Fatal(err)
	}
	r := reopen(t, mem)
	for seed := range byte(2) {
		chunks := noiseChunks(seed, 24, 6000)
		id := keepChunks(t, r, chunks)
		json, err := r.GetSnapshot(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		x.snapshots[id] = []byte(strings.TrimRight(string(json), " "))
		x.chunks = append(x.chunks, mustSave(t, reopen(t, mem), chunks)...)
	}
	if _, err := r.AddSlot(ctx, []byte("second"), cheap, "second"); err != nil {
		t.Fatal(err)
	}
	x.files = filesOf(t, mem)
	x.kinds["config"] = [2]string{configName, configName}
	packs := x.packs()
	x.kinds["pack"], x.kinds["parity"] = [2]string(packs), [2]string{packs[0] + parityEnd, packs[1] + parityEnd}
	for kind, dir := range map[string]string{"key": keysDir, "index": indexDir, "snapshot": snapshotsDir} {
		x.kinds[kind] = [2]string(x.in(dir))
	}
	mustSave(t, r, noiseChunks(9, 4, 6000)) // which no snapshot needs
	x.addWork(t, r)
	x.files = filesOf(t, mem)
	x.kinds["leftover"] = [2]string{"index/.tmp-" + strings.Repeat("a", 32), packs[0][:len("packs/00")] + "/.tmp-" + strings.Repeat("b", 32)}
	for _, name := range x.kinds["leftover"] {
		x.files[name] = []byte(strings.Repeat("what was not written to its end: "+name, 9))
	}
	return x
}

// addWork puts files of work under way.
func (x *damageSample) addWork(t *testing.T, r *Repo) {
	t.Helper()
	put := func(kind, dir string, file pack.FileKind, p crypt.Purpose, says [2]any) (ids [2]pack.ID) {
		t.Helper()
		for i := range says {
			id, err := r.putJSON(t.Context(), dir, file, p, says[i])
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = id
		}
		x.kinds[kind] = [2]string{fileName(dir, ids[0]), fileName(dir, ids[1])}
		return ids
	}
	var unneeded []pack.ID
	for _, name := range r.index.Packs() {
		if !slices.Contains(x.packs(), packName(name.ID)) {
			unneeded = append(unneeded, name.ID)
		}
	}
	plans := put("plan", workDir, pack.PlanFile, crypt.Plans, [2]any{plan{Packs: unneeded, Host: "a"}, plan{Packs: unneeded, Host: "b"}})
	put("plan of damaged packs", workDir, pack.PlanFile, crypt.Plans,
		[2]any{plan{Packs: unneeded, Damaged: true, Host: "a"}, plan{Packs: unneeded, Damaged: true, Host: "b"}})
	leases := put("lease", workDir, pack.LeaseFile, crypt.Leases, [2]any{Lease{Work: BackingUp, Host: "a"}, Lease{Work: BackingUp, Host: "b"}})
	put("second file of a lease", workDir, pack.LeaseFile, crypt.Leases, [2]any{
		Lease{Work: BackingUp, Host: "a", Of: &leases[0], Honours: plans[:]}, Lease{Work: BackingUp, Host: "b", Of: &leases[1], Honours: plans[:]}})
	put("record", forgottenDir, pack.RecordFile, crypt.Forgotten, [2]any{record{Host: "a", Snapshots: []pack.ID{{1}}}, record{Host: "b", Snapshots: []pack.ID{{2}}}})
	x.kinds["pending"] = [2]string{fileName(pendingDir, leases[0]), fileName(pendingDir, leases[1])}
	for i, name := range x.kinds["pending"] {
		file := append(pack.Header(pack.SnapshotFile), crypt.NewBox(r.master, crypt.Snapshots, r.id).Seal(fmt.Appendf(nil, `{"version":%d}`, i))...)
		if err := r.store.Put(t.Context(), name, file); err != nil {
			t.Fatal(err)
		}
	}
}

// A damaged repository is one in which a file was changed.
type damaged struct {
	what  string
	files map[string][]byte
	names []string // of files that are not what they were, or new
}

// befall returns the repositories in which a fault has befallen a file of some kind.
func (x *damageSample) befall(kind string, f mishap) (out []damaged) {
	name, second := x.kinds[kind][0], x.kinds[kind][1]
	data, to := x.files[name], another(kind, name)
	with := func(what string, changes map[string][]byte) {
		d := damaged{what, maps.Clone(x.files), slices.Sorted(maps.Keys(changes))}
		for name, data := range changes {
			if d.files[name] = data; data == nil {
				delete(d.files, name)
			}
		}
		out = append(out, d)
	}
	for what, bad := range changed(data, f) {
		with(what, map[string][]byte{name: bad})
	}
	switch f {
	case missing:
		with("", map[string][]byte{name: nil})
	case duplicated:
		with("", map[string][]byte{to: data})
	case renamed:
		with("", map[string][]byte{name: nil, to: data})
	case swapped:
		if kind == "config" {
			with("", map[string][]byte{name: x.other[name]})
			break
		}
		with("", map[string][]byte{name: x.files[second], second: data})
	}
	return out
}

// changed yields what a mishap can make of bytes.
func changed(data []byte, f mishap) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		n := len(data)
		switch f {
		case bitFlipped:
			for _, at := range []int{n / 2, 0, 7, 8, 9, 10, 11, 12, 27, 28, 60, n / 4, n - 20, n - 12, n - 9, n - 1} {
				bad := slices.Clone(data)
				bad[at] ^= 1 << (at % 8)
				if !yield(fmt.Sprint("in byte ", at), bad) {
					return
				}
			}
		case truncated:
			for _, to := range []int{n / 2, n - 1, pack.HeaderSize, 0} {
				if !yield(fmt.Sprintf("to %d bytes", to), slices.Clone(data[:to])) {
					return
				}
			}
		case extended:
			for _, by := range []int{1, 4096} {
				if !yield(fmt.Sprintf("by %d bytes", by), append(slices.Clone(data), make([]byte, by)...)) {
					return
				}
			}
		case zeroed:
			yield("", make([]byte, n))
		}
	}
}

// changes are all that can happen to a file's bytes.
func changes(data []byte) map[string][]byte {
	out := map[string][]byte{}
	for f := range missing {
		for what, bad := range changed(data, f) {
			out[f.String()+" "+what] = bad
		}
	}
	return out
}

// another returns a name that no file has and that looks like one of its kind.
func another(kind, name string) string {
	id := pack.ID{0xab, 0xcd}
	switch kind {
	case "config":
		return "config2"
	case "pack":
		return packName(id)
	case "parity":
		return parityName(id)
	case "leftover":
		return "snapshots/.tmp-" + strings.Repeat("c", 32)
	}
	return fileName(dirOf(name), id)
}

// suffer looks at one damaged repository as all readers do, and goes on in it.
func (x *damageSample) suffer(t *testing.T, kind string, f mishap, d damaged, want seen, goOn bool) {
	t.Helper()
	what := fmt.Sprintf("%s %v %s", kind, f, d.what)
	s := x.storeOf(t, kind, d)
	got := x.look(t, s)
	if want == closed {
		for _, name := range d.names {
			if len(got.open) != 2 || d.files[name] != nil && f != renamed && (!mentions(got.open[:1], name) || !mentions(got.open[1:], name)) {
				t.Errorf("%s: Open says %v", what, got.open)
			}
		}
		return
	}
	if got.report == nil {
		t.Fatalf("%s: %v", what, got.open)
	}
	reported := append(got.report.Damage, listedSnapshots(t, s)...)
	for _, name := range d.names {
		there := d.files[name] != nil
		if said := begins(reported, name); want == damage && !said && (there || kind == "pack") || want != damage && said {
			t.Errorf("%s: check says %q of damage", what, reported)
		}
		if want == damage && there && !begins(got.names.Damage, name) {
			t.Errorf("%s: CheckNames says %q", what, got.names.Damage)
		}
	}
	for _, line := range reported {
		if !slices.ContainsFunc(d.names, func(name string) bool { return begins([]string{line}, name) }) {
			t.Errorf("%s: check says %q", what, line)
		}
	}
	if n := len(got.report.Notes); want == noted && n == 0 || want == silent && n > 0 {
		t.Errorf("%s: check notes %q", what, got.report.Notes)
	}
	x.readers(t, what, kind, f, d, got)
	if kind == "pack" {
		x.counted(t, what, s, got.report)
		report, err := reopen(t, s).Check(t.Context(), CheckOptions{}, nil)
		if err != nil || f != bitFlipped && f != duplicated && !begins(report.Damage, x.kinds[kind][0]) {
			t.Errorf("%s: a check that reads no packs says %v, %+v", what, err, report)
		}
	}
	if goOn {
		inTheWay := want == damage && (dirOf(d.names[0]) == workDir || kind == "index")
		x.goesOn(t, what, s, inTheWay)
	}
}

// begins reports whether one of the lines is about a file.
func begins(lines []string, name string) bool {
	return slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, name+": ") })
}

// readers holds that errors name the file that a fault befell, and that all can be had which is not in it.
func (x *damageSample) readers(t *testing.T, what, kind string, f mishap, d damaged, got findings) {
	t.Helper()
	named := func(err error) bool {
		return slices.ContainsFunc(d.names, func(name string) bool { return strings.Contains(err.Error(), name) })
	}
	fine := func(error) bool { return false }
	errs := slices.Concat(got.open, got.load, got.snaps)
	switch {
	case kind == "key" && f != duplicated && len(got.open) == 1: // the other password's
		fine = func(err error) bool { return f == missing || named(err) }
	case kind == "pack" && f != bitFlipped: // parity mends those
		fine = named
	case kind == "snapshot" && f != duplicated:
		fine = named
	case kind == "index":
		var lost *MissingError
		if len(got.load) == 0 || !named(got.load[0]) && !(f == missing && errors.As(got.load[0], &lost)) {
			t.Errorf("%s: LoadIndex and Load say %v", what, got.load)
		}
		errs = slices.Concat(got.open, got.snaps)
	}
	for _, err := range errs {
		if !fine(err) {
			t.Errorf("%s: a reader says %v", what, err)
		}
	}
	if kind == "snapshot" && f != duplicated && len(got.snaps) == 0 {
		t.Errorf("%s: GetSnapshot says nothing", what)
	}
}

// counted holds that check counts what cannot be had any more for lost.
func (x *damageSample) counted(t *testing.T, what string, s store.Store, report *Report) {
	t.Helper()
	r := reopen(t, s)
	for _, c := range x.chunks {
		if err := loadOne(r, c); err != nil && report.Bad(c.id) == nil {
			t.Errorf("%s: check does not count chunk %v for lost: %v", what, c.id, err)
		}
	}
}

// goesOn backs up all that there was, and more, after what the error says to run where there is one. Then all can be had
// again, whatever was damaged: check has said which packs nobody may build upon. What is in the way is an index file or a plan
// that cannot be read: nobody knows what may be built upon then.
func (x *damageSample) goesOn(t *testing.T, what string, s store.Store, inTheWay bool) {
	t.Helper()
	ctx := t.Context()
	chunks := noiseChunks(7, 8, 6000)
	for _, c := range x.chunks {
		chunks = append(chunks, c.data)
	}
	r := openEither(t, s)
	_, kept, err := keep(ctx, r, chunks)
	if (err != nil) != inTheWay {
		t.Errorf("%s: the next backup says %v", what, err)
	}
	if err != nil {
		switch r := openEither(t, s); {
		case strings.Contains(err.Error(), "'repair index'"):
			_, err = r.RepairIndex(ctx, nil)
		case strings.Contains(err.Error(), "'platter prune'"):
			x.hours++ // whatever cannot be read may be a lease
			_, err = r.Prune(ctx, PruneOptions{MaxRepack: 1 << 40}, markModel(r), nil)
		}
		if err != nil {
			t.Errorf("%s: the next backup, or what it ends with %v", what, err)
			return
		}
		if _, kept, err = keep(ctx, openEither(t, s), chunks); err != nil {
			t.Errorf("%s: the next backup but one says %v", what, err)
			return
		}
	}
	r = openEither(t, s)
	if err := r.LoadIndex(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range kept {
		if err := loadOne(r, c); err != nil {
			t.Errorf("%s: after the next backup: %v", what, err)
		}
	}
}

// openEither opens with whichever password still does.
func openEither(t *testing.T, s store.Store) *Repo {
	t.Helper()
	r, err := Open(t.Context(), s, []byte("pw"))
	if err != nil {
		r, err = Open(t.Context(), s, []byte("second"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// storeOf is a store with the files of a repository. Only one on a real file system can have leftovers, and tell of them.
func (x *damageSample) storeOf(t *testing.T, kind string, d damaged) store.Store {
	t.Helper()
	x.hours = 0
	mem, root := &store.Mem{Clock: func() time.Time { return time.Now().Add(x.hours * time.Hour) }}, t.TempDir()
	for name, data := range d.files {
		if strings.Contains(name, "/.tmp-") && !slices.Contains(d.names, name) {
			continue
		}
		if kind != "leftover" {
			if err := mem.Put(t.Context(), name, data); err != nil {
				t.Fatal(err)
			}
			continue
		}
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if kind != "leftover" {
		return mem
	}
	return store.NewLocal(root)
}

// listedSnapshots are the errors of all snapshots that are listed and cannot be read, as the command tells them.
func listedSnapshots(t *testing.T, s store.Store) (lines []string) {
	t.Helper()
	r := openEither(t, s)
	ids, err := r.ListSnapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := r.GetSnapshot(t.Context(), id); err != nil {
			lines = append(lines, err.Error())
		}
	}
	return lines
}
