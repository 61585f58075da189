package repo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// seen is how check reports a mishap.
type seen int

const (
	damage seen = iota // it reports the file, and no other, as damaged
	noted              // it has a note about the file and reports no damage
	silent             // it reports nothing, because nothing is wrong or nothing shows it
	closed             // the repository does not open, and the error names the file
)

// A mishap is one that can befall any file.
type mishap int

const (
	bitFlipped mishap = iota // one bit, in many places
	truncated
	extended
	zeroed
	missing
	duplicated // also under another name that looks like one of its kind
	renamed    // to such a name
	swapped    // with another file of its kind
	faults     // how many there are
)

func (f mishap) String() string {
	return []string{"a bit flipped", "truncated", "extended", "zeroed", "missing", "duplicated", "renamed", "swapped"}[f]
}

// TestDamage makes every mishap befall every kind of file. It checks what check reports. It checks that chunks and
// snapshots never load with wrong bytes, and that all those outside the file still load. It checks that the next
// command works, at once or after the command that the report names.
func TestDamage(t *testing.T) {
	table := []struct {
		kind string
		seen [faults]seen // flipped, truncated, extended, zeroed, missing, duplicated, renamed, swapped
	}{
		// Swapped with another repository's config; the copies open the repository.
		{"config", [faults]seen{damage, damage, damage, damage, damage, noted, damage, damage}},
		// Swapped, no slot opens.
		{"key", [faults]seen{damage, damage, damage, damage, silent, damage, damage, closed}},
		{"pack", [faults]seen{damage, damage, damage, damage, damage, damage, damage, damage}},
		{"parity", [faults]seen{damage, damage, damage, damage, noted, noted, noted, damage}},
		// Missing: its packs are in no index file.
		{"index", [faults]seen{damage, damage, damage, damage, noted, damage, damage, damage}},
		// A missing snapshot is noticed by the machines that have seen it: cmd/platter, seen.txtar.
		{"snapshot", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// Without it, its holder commits nothing, and the holder's pending file belongs to no lease.
		{"lease", [faults]seen{damage, damage, damage, damage, noted, damage, damage, damage}},
		// Without it, a prune waits for its lease.
		{"second file of a lease", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// Without it, a prune announces the packs again.
		{"marker", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// Without it, the next check finds the same packs.
		{"marker of damaged packs", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// It holds nothing that was promised yet. Once it is moved to its name, it is an index file or a snapshot.
		{"pending", [faults]seen{silent, silent, silent, silent, silent, noted, noted, silent}},
		// Without it, other machines report those snapshots as missing.
		{"record", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// It is for people, and another test makes it again.
		{"verdict", [faults]seen{damage, damage, damage, damage, silent, damage, damage, damage}},
		// No process reads it, whatever its content.
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

// suffer reads one damaged repository in all ways, and continues to use it.
func (x *damageSample) suffer(t *testing.T, kind string, f mishap, d damaged, want seen, goOn bool) {
	t.Helper()
	what := fmt.Sprintf("%s %v %s", kind, f, d.what)
	s := x.storeOf(t, kind, d)
	got := x.look(t, s)
	if _, err := pack.ParseHeader(d.files[layout.Config], pack.ConfigFile); errors.Is(err, pack.ErrNewer) {
		want = closed // a copy must not replace what only a newer version of platter understands
	}
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
		there := d.files[name] != nil && name != another("config", "") // it has a note instead
		if said := begins(reported, name); want == damage && !said && (there || kind == "pack") || want != damage && said {
			t.Errorf("%s: check says %q of damage", what, reported)
		}
		// Checking a config needs a key.
		if want == damage && there && kind != "config" && !begins(got.names.Damage, name) {
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
		inTheWay := want == damage && (layout.Dir(d.names[0]) == layout.Work || kind == "index")
		x.goesOn(t, what, s, inTheWay)
	}
}

// begins reports whether one of the lines is about a file.
func begins(lines []string, name string) bool {
	return slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, name+": ") })
}

// readers checks that errors name the file that a mishap befell, and that everything outside that file can be read.
func (x *damageSample) readers(t *testing.T, what, kind string, f mishap, d damaged, got findings) {
	t.Helper()
	named := func(err error) bool {
		return slices.ContainsFunc(d.names, func(name string) bool { return strings.Contains(err.Error(), name) })
	}
	fine := func(error) bool { return false }
	errs := slices.Concat(got.open, got.load, got.snaps)
	switch {
	case kind == "key" && f != duplicated && len(got.open) == 1: // the slot of the other password
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

// counted checks that check counts the chunks that cannot be read any more as lost.
func (x *damageSample) counted(t *testing.T, what string, s store.Store, report *Report) {
	t.Helper()
	r := reopen(t, s)
	for _, c := range x.chunks {
		if err := loadOne(r, c); err != nil && report.ChunkError(c.id) == nil {
			t.Errorf("%s: check does not count chunk %v for lost: %v", what, c.id, err)
		}
	}
}

// goesOn backs up everything that the sample held, and more, after the command that the error names, if any. Then
// everything can be read again, whatever was damaged, because check has marked the packs that nothing may build on.
// inTheWay means that an index file or a marker is unreadable, so that nothing may be built on stored data.
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
			x.hours++ // an unreadable file may be a lease
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

// openEither opens the repository with whichever password still works.
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

// listedSnapshots returns the errors of all listed snapshots that cannot be read, as the command prints them.
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
