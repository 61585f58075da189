package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// pruneSteps returns what a prune does to delete a pack, one store call per step.
func pruneSteps(t *testing.T, mem *store.Mem, victim pack.FileID, full bool) []func() {
	ctx := context.Background()
	r := reopen(t, mem)
	old, err := layout.List(ctx, mem, layout.Index)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	var marker pack.FileID
	announce := func() {
		var err error
		marker, err = r.leases.PutMarker(ctx, lease.Marker{Packs: []pack.FileID{victim}})
		must(err)
	}
	rewrite := func() {
		f := &index.File{}
		for _, o := range old {
			read, err := r.readIndex(ctx, o.ID)
			must(err)
			f.Supersedes = append(f.Supersedes, o.ID)
			f.Packs = append(f.Packs, slices.DeleteFunc(read.Packs, func(p index.PackTable) bool { return p.ID == victim })...)
		}
		putIndexFile(t, r, f)
	}
	deletePack := func() { must(mem.Delete(ctx, layout.PackName(victim))) }
	deleteMarker := func() { must(mem.Delete(ctx, layout.Name(layout.Work, marker))) }
	steps := []func(){announce}
	if full {
		steps = append(steps, deletePack)
	}
	steps = append(steps, rewrite)
	for _, o := range old {
		steps = append(steps, func() { must(mem.Delete(ctx, layout.Name(layout.Index, o.ID))) })
	}
	if !full {
		steps = append(steps, deletePack)
	}
	return append(steps, deleteMarker)
}

// TestCheckBesidePrune runs a prune that deletes a pack beside a check. The prune starts at any call of the check,
// takes one step every few calls, and goes on to its end or is interrupted. None of that counts as damage.
func TestCheckBesidePrune(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	victim, err := pack.ParseFileID(x.in(layout.Packs)[0][len("packs/00/"):])
	if err != nil {
		t.Fatal(err)
	}
	calls := int64(1)
	for start := int64(0); start < calls; start++ {
		for _, full := range []bool{false, true} {
			for _, gap := range []int64{0, 1, 3} {
				for _, end := range []int{2, 3, 4, 99} { // the step before which the prune is interrupted
					if testing.Short() && (start+gap+int64(end))%5 > 0 {
						continue
					}
					mem := storetest.MemOf(t, x.files)
					steps := pruneSteps(t, mem, victim, full)
					if end < len(steps) {
						steps = steps[:end]
					}
					var done atomic.Int64
					s := &storetest.Faulty{Store: mem}
					r := reopen(t, mem)
					r.workers = 1
					r.setStore(s)
					s.Fail = func(string, string) error {
						for n := done.Load(); int(n) < len(steps) && s.Ops()-1 >= start+n*gap; n = done.Load() {
							done.Add(1)
							steps[n]()
						}
						return nil
					}
					report, err := r.Check(ctx, CheckOptions{ReadPacks: true}, nil)
					if err != nil || len(report.Damage) > 0 {
						t.Fatalf("from call %d, every %d, full %v, until %d: %v, %q", start, gap, full, end, err, report.Damage)
					}
					if slices.ContainsFunc(report.Notes, func(n string) bool { return strings.Contains(n, "in no index file") }) {
						t.Errorf("from call %d, every %d, full %v, until %d: %q", start, gap, full, end, report.Notes)
					}
					calls = max(calls, s.Ops())
				}
			}
		}
	}
	if calls < 10 {
		t.Fatalf("%d calls", calls)
	}
}

// TestCheckAfterInterruptedPrune checks what check says after an interrupted prune.
func TestCheckAfterInterruptedPrune(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	victim, err := pack.ParseFileID(x.in(layout.Packs)[0][len("packs/00/"):])
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		full  bool
		steps int
		note  string
	}{
		{false, 1, ""},
		{false, 2, "unneeded packs that a prune is about to delete: 1"},
		{true, 2, "packs that a prune deleted, and that are still in the index: 1"},
	} {
		mem := storetest.MemOf(t, x.files)
		for _, step := range pruneSteps(t, mem, victim, tt.full)[:tt.steps] {
			step()
		}
		r := reopen(t, mem)
		report, err := r.Check(ctx, CheckOptions{ReadData: true}, nil)
		if err != nil || len(report.Damage) > 0 {
			t.Fatalf("%v: %v, %q", tt, err, report.Damage)
		}
		if got := strings.Join(report.Notes, "\n"); !strings.HasPrefix(got, tt.note) || (got == "") != (tt.note == "") {
			t.Errorf("%v: notes %q", tt, got)
		}
		bad := 0
		for _, c := range x.chunks { // a reader that needs them after all gets an error
			if report.ChunkError(c.id) != nil {
				bad++
			}
		}
		if (bad > 0) != tt.full {
			t.Errorf("%v: %d chunks are bad", tt, bad)
		}
	}
	// A missing pack that no marker names is damage, whatever other markers there are.
	mem := storetest.MemOf(t, x.files)
	pruneSteps(t, mem, victim, false)[0]()
	other := x.in(layout.Packs)[1]
	if err := mem.Delete(ctx, other); err != nil {
		t.Fatal(err)
	}
	if report, err := reopen(t, mem).Check(ctx, CheckOptions{}, nil); err != nil || !lists(report, other) || len(report.Damage) != 1 {
		t.Fatalf("%v, %q", err, report.Damage)
	}
}

// TestRecheck checks that Recheck notices what a prune deletes between Check and the look at the maps.
func TestRecheck(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	victim, err := pack.ParseFileID(x.in(layout.Packs)[0][len("packs/00/"):])
	if err != nil {
		t.Fatal(err)
	}
	mem := storetest.MemOf(t, x.files)
	steps := pruneSteps(t, mem, victim, false)
	r := reopen(t, mem)
	report, err := r.Check(ctx, CheckOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Recheck(ctx, report); err != nil || changed {
		t.Fatalf("%v, %v", changed, err)
	}
	for _, step := range steps {
		step()
	}
	changed, err := r.Recheck(ctx, report)
	if err != nil || !changed || r.Index().HasPack(victim) || len(report.Damage) > 0 {
		t.Fatalf("%v, %v, %v, %q", changed, err, r.Index().HasPack(victim), report.Damage)
	}
}

// TestCheckWork checks what check says about leases and pending snapshots.
func TestCheckWork(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	mem := &store.Mem{Clock: func() time.Time { return now }}
	for name, data := range x.files {
		if err := mem.Put(ctx, name, data); err != nil {
			t.Fatal(err)
		}
	}
	r := reopen(t, mem)
	r.isDead = func(l Lease) bool { return l.Host == "dead" }
	check := func(o CheckOptions) []string {
		t.Helper()
		report, err := r.Check(ctx, o, nil)
		if err != nil || len(report.Damage) > 0 {
			t.Fatalf("%v, %q", err, report.Damage)
		}
		return report.Notes
	}
	lease := func(host string) pack.FileID {
		id, err := r.leases.Put(ctx, Lease{Work: BackingUp, Host: host, Time: now})
		if err != nil {
			t.Fatal(err)
		}
		if err := mem.Put(ctx, layout.Name(layout.Pending, id), []byte("soon")); err != nil {
			t.Fatal(err)
		}
		return id
	}
	alive := lease("alive")
	if notes := check(CheckOptions{}); len(notes) > 0 {
		t.Errorf("while a backup runs: %q", notes)
	}
	dead := lease("dead")
	if notes := check(CheckOptions{}); len(notes) != 1 || !strings.Contains(notes[0], dead.String()) || !strings.Contains(notes[0], "died") {
		t.Errorf("a process that has ended: %q", notes)
	}
	now = now.Add(31 * time.Minute)
	if notes := check(CheckOptions{ReadOnly: true}); len(notes) != 1 {
		t.Errorf("without a clock: %q", notes)
	}
	notes := check(CheckOptions{})
	if len(notes) != 2 || !strings.Contains(strings.Join(notes, ""), layout.Name(layout.Work, alive)+": the backup by alive since ") {
		t.Errorf("half an hour later: %q", notes)
	}
	for _, id := range []pack.FileID{alive, dead} {
		if err := mem.Delete(ctx, layout.Name(layout.Work, id)); err != nil {
			t.Fatal(err)
		}
	}
	if notes = check(CheckOptions{}); len(notes) != 2 || !strings.Contains(notes[0], "never committed") {
		t.Errorf("without their leases: %q", notes)
	}
}

// TestCheckSecondFiles checks that check names an acknowledgement whose lease is missing, until a prune has deleted it.
func TestCheckSecondFiles(t *testing.T) {
	ctx := context.Background()
	mem := storetest.MemOf(t, newSample(t).files)
	r := reopen(t, mem)
	lease := Lease{Work: BackingUp, Host: "here", Time: time.Now()}
	id, err := r.leases.Put(ctx, lease)
	if err != nil {
		t.Fatal(err)
	}
	lease.Of, lease.Acknowledged = &id, []pack.FileID{{1}}
	ack, err := r.leases.Put(ctx, lease)
	if err != nil {
		t.Fatal(err)
	}
	notes := func() []string {
		t.Helper()
		r := reopen(t, mem)
		r.isDead = func(Lease) bool { return false }
		report, err := r.Check(ctx, CheckOptions{}, nil)
		if err != nil || len(report.Damage) > 0 {
			t.Fatalf("%v, %q", err, report.Damage)
		}
		return report.Notes
	}
	if said := notes(); len(said) > 0 {
		t.Errorf("with its lease: %q", said)
	}
	if err := mem.Delete(ctx, layout.Name(layout.Work, id)); err != nil {
		t.Fatal(err)
	}
	if said := notes(); len(said) != 1 || !strings.HasPrefix(said[0], layout.Name(layout.Work, ack)+": the second file of a lease that has ended") {
		t.Errorf("without its lease: %q", said)
	}
	marks := func(context.Context, []pack.FileID, *Marks) error { return nil }
	if _, err := reopen(t, mem).Prune(ctx, PruneOptions{Sure: true}, marks, nil); err != nil || countIn(t, mem, layout.Work) > 0 {
		t.Errorf("prune leaves %d files (%v)", countIn(t, mem, layout.Work), err)
	}
}

// TestCheckNamesFew checks that check names the first of many foreign files and counts the others.
func TestCheckNamesFew(t *testing.T) {
	ctx := context.Background()
	mem := storetest.MemOf(t, newSample(t).files)
	for i := range 1000 {
		for _, name := range []string{fmt.Sprintf("packs/odd-%03d", i), layout.Name(layout.Pending, pack.FileID{byte(i / 256), byte(i)})} {
			if err := mem.Put(ctx, name, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	report, err := reopen(t, mem).Check(ctx, CheckOptions{}, nil)
	if err != nil || report.Odd != 1000 || report.Leftover != 0 || len(report.Damage) > 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	all := strings.Join(report.Notes, "\n")
	for _, want := range []string{`"packs/odd-000" is not a file of the repository`, `"packs/odd-019" is`, `980 more are like "packs/odd-019"`, `980 more are like "pending/0013`, "pending/0013"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not among\n%s", want, all)
		}
	}
	if len(report.Notes) != 2*(maxNames+1) {
		t.Errorf("%d notes:\n%s", len(report.Notes), all)
	}
}

// TestCheckUnreadableWork checks that check names a damaged lease or marker, and says what to do about it.
func TestCheckUnreadableWork(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	mem := storetest.MemOf(t, x.files)
	id, err := reopen(t, mem).leases.PutMarker(ctx, lease.Marker{Packs: []pack.FileID{{1}}})
	if err != nil {
		t.Fatal(err)
	}
	name := layout.Name(layout.Work, id)
	for change, bad := range changes(storetest.Files(t, mem)[name]) {
		y := x.clone()
		y.files[name] = bad
		s := storetest.MemOf(t, y.files)
		report, err := reopen(t, s).Check(ctx, CheckOptions{}, nil)
		if err != nil || len(report.Damage) != 1 || !lists(report, name) || !slices.Contains(report.Hints, hintWork) {
			t.Fatalf("%s: %v, %+v", change, err, report)
		}
		if names, err := CheckNames(ctx, s, 1, nil); err != nil || !lists(names, name) {
			t.Fatalf("%s: %v, %+v", change, err, names)
		}
	}
}

// TestCheckNamesBesidePrune deletes packs while CheckNames reads them.
func TestCheckNamesBesidePrune(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	for i := range int64(20) {
		mem := storetest.MemOf(t, x.files)
		s := &storetest.Faulty{Store: mem}
		var gone atomic.Bool
		s.Fail = func(string, string) error {
			if s.Ops() > i && gone.CompareAndSwap(false, true) {
				for _, dir := range []string{layout.Packs, layout.Index} {
					_ = mem.Delete(ctx, x.in(dir)[0])
				}
			}
			return nil
		}
		if report, err := CheckNames(ctx, s, 1, nil); err != nil || len(report.Damage) > 0 {
			t.Fatalf("%d: %v, %+v", i, err, report)
		}
	}
}
