package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"platter/chunk"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// A model is a small repository with known contents: its disks are sets of chunks from a small universe.
type model struct {
	*scheduler
	t        *testing.T
	template *Repo
	universe [][]byte
	reported map[pack.FileID]bool // snapshots of backups that reported success
	dropped  map[pack.FileID]bool // forgotten snapshots
	away     map[pack.FileID]bool // snapshots whose files were moved away, and will be put back
	memory   string               // the folder of what pruning machines have seen
	faults   []string
}

type modelSnapshot struct {
	Chunks []chunk.ID   `json:"chunks"`
	Before *pack.FileID `json:"before,omitempty"` // the version before it
}

// open opens the repository as a host sees it, without the cost of a password.
func (m *model) open(s store.Store) *Repo {
	r := &Repo{id: m.template.id, master: m.template.master, config: m.template.config}
	r.setStore(s)
	if err := r.prepare(); err != nil {
		m.t.Fatal(err)
	}
	r.SetWorkers(1)
	r.SetCompression(pack.CompressOff)
	r.isDead = func(Lease) bool { return false } // hosts cannot see each other's processes
	skew := time.Duration(m.intN(1e6)-5e5) * time.Second
	r.now = func() time.Time { return time.Now().Add(skew) }
	if m.vague {
		r.SetGrace(m.lag)
	}
	return r
}

// pruneLag is the lag that a prune assumes. If listings can be refreshed, other machines' listings may be older than it
// assumes.
func (m *model) pruneLag() time.Duration {
	if m.vague {
		return m.lag
	}
	return min(m.lag, time.Minute)
}

// backup saves some of the universe, as the command does.
func (m *model) backup(ctx context.Context, r *Repo, pick []int) error {
	return r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		if _, err := r.ListSnapshots(ctx); err != nil {
			return err
		}
		if err := r.LoadIndex(ctx); err != nil {
			return err
		}
		if _, err := r.Adopt(ctx); err != nil {
			return err
		}
		var s modelSnapshot
		_, err := r.Write(ctx, func(ctx context.Context, w *Writer) error {
			lane := w.Lane()
			for _, n := range pick {
				id := lane.Name(m.universe[n])
				s.Chunks = append(s.Chunks, id)
				if err := lane.Save(ctx, id, m.universe[n]); err != nil {
					return err
				}
			}
			return lane.Close(ctx)
		})
		if err != nil {
			return err
		}
		data, err := json.Marshal(s)
		if err != nil {
			return err
		}
		id, err := r.PutSnapshot(ctx, data)
		if err == nil {
			m.note(func() { m.reported[id] = true })
		}
		return err
	})
}

func (m *model) note(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
}

// readModel reads a snapshot.
func readModel(ctx context.Context, r *Repo, id pack.FileID) (s modelSnapshot, err error) {
	data, err := r.GetSnapshot(ctx, id)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func chunksOf(ctx context.Context, r *Repo, id pack.FileID) ([]chunk.ID, error) {
	s, err := readModel(ctx, r, id)
	return s.Chunks, err
}

func markModel(r *Repo) MarkFunc {
	return func(ctx context.Context, ids []pack.FileID, marks *Marks) error {
		for _, id := range ids {
			s, err := readModel(ctx, r, id)
			if layout.IsMissing(err) {
				marks.Missing(id)
				continue
			}
			if err != nil {
				return err
			}
			if s.Before != nil {
				marks.After(id, *s.Before)
			}
			for _, c := range s.Chunks {
				marks.Mark(c)
			}
		}
		return nil
	}
}

func (m *model) pick() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rnd.Perm(len(m.universe))[:2+m.rnd.IntN(3)]
}

// programs returns what the machines do: four back up disks, two read, one forgets, two prune.
func (m *model) programs() map[*host]func(context.Context) {
	out := map[*host]func(context.Context){}
	add := func(name string, rounds int, run func(context.Context, *Repo) error) {
		h := &host{scheduler: m.scheduler, name: name, mortal: true, listings: map[string]*listing{}}
		m.hosts = append(m.hosts, h)
		out[h] = func(ctx context.Context) {
			for range rounds {
				time.Sleep(time.Duration(m.intN(600)) * time.Second)
				err := run(ctx, m.open(h))
				if err != nil && !errors.Is(err, errKilled) && !errors.Is(err, errBroken) && !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrInUse) && !errors.Is(err, ErrUnaccounted) && !errors.Is(err, errCameBack) && !layout.IsMissing(err) {
					m.note(func() { m.faults = append(m.faults, fmt.Sprintf("%s: %v", name, err)) })
				}
			}
		}
	}
	for i := range 4 {
		add(fmt.Sprintf("backup %d", i), 2, func(ctx context.Context, r *Repo) error { return m.backup(ctx, r, m.pick()) })
	}
	for i := range 2 {
		add(fmt.Sprintf("read %d", i), 3, m.read)
	}
	for h := range out { // a reader that sleeps, or whose lease is not put, has no guarantee
		if strings.HasPrefix(h.name, "read") {
			h.mortal = false
		}
	}
	add("forget", 4, func(ctx context.Context, r *Repo) error {
		ids, err := r.ListSnapshots(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if m.intN(2) == 0 {
				m.note(func() { m.dropped[id] = true })
				forget := func() error { _, err := r.Forget(ctx, []pack.FileID{id}); return err }
				if m.intN(4) == 0 { // as an older program without readers' leases did
					forget = func() error { _, err := r.forget(ctx, []pack.FileID{id}); return err }
				}
				if err := forget(); err != nil && !errors.Is(err, ErrInUse) {
					return err
				}
			}
		}
		return nil
	})
	if m.memory != "" {
		add("vandal", 3, m.vandalize)
	}
	for i := range 2 {
		add(fmt.Sprintf("prune %d", i), 2, func(ctx context.Context, r *Repo) error {
			r.UseMemory(m.memory)
			_, err := r.Prune(ctx, PruneOptions{MaxRepack: 1 << 40, Lag: m.pruneLag(), Sure: true}, markModel(r), nil)
			m.whole("after a prune")
			return err
		})
	}
	return out
}

// vandalize moves the file of a snapshot away that pruning machines have seen, and puts it back hours later.
func (m *model) vandalize(ctx context.Context, _ *Repo) error {
	r := m.direct()
	r.UseMemory(m.memory)
	ids, err := r.ListSnapshots(ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	id := ids[m.intN(len(ids))]
	name := layout.Name(layout.Snapshots, id)
	file, err := m.mem.Get(ctx, name, 0, layout.MaxSnapshot)
	if err != nil {
		return err
	}
	m.note(func() {
		r.RecordSeen(Seen{ID: id})
		m.away[id] = true
	})
	if err := m.mem.Delete(ctx, name); err != nil {
		return err
	}
	time.Sleep(time.Duration(m.intN(3*3600)) * time.Second)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.away, id)
	if m.dropped[id] {
		return nil
	}
	return m.mem.Put(ctx, name, file)
}

// read reads a version slowly. Data that existed when it began must exist to its end.
func (m *model) read(ctx context.Context, r *Repo) error {
	ids, err := r.ListSnapshots(ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	id := ids[m.intN(len(ids))]
	chunks, err := chunksOf(ctx, r, id)
	if err == nil {
		err = r.LoadIndex(ctx)
	}
	if err != nil {
		return err
	}
	began := false
	err = r.Reading(ctx, Restoring, []pack.FileID{id}, func(ctx context.Context) error {
		began = true
		for _, c := range chunks {
			time.Sleep(time.Duration(m.intN(40*60)) * time.Second)
			if err := r.Load(ctx, chunk.Data, []chunk.ID{c}, func(int, []byte) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && began && m.jumps == nil && !m.vague { // if the clock is set, its lease may look expired
		m.note(func() {
			m.trace = append(m.trace, fmt.Sprintf("FAULT: a reader of %.8s: %v", id, err))
			m.faults = append(m.faults, fmt.Sprintf("a reader of %.8s: %v", id, err))
		})
	}
	return nil
}

// whole checks that every existing snapshot can be read, byte for byte, and that the reported ones exist.
func (m *model) whole(when string) {
	ctx := context.Background()
	r := m.direct()
	var away map[pack.FileID]bool // as of the listing; some are put back at any moment after that
	m.note(func() { away = maps.Clone(m.away) })
	ids, err := r.ListSnapshots(ctx)
	if err == nil {
		err = r.LoadIndex(ctx)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	there := map[pack.FileID]bool{}
	for _, id := range ids {
		there[id] = true
		chunks, err := chunksOf(ctx, r, id)
		if err == nil {
			err = r.Load(ctx, chunk.Data, chunks, func(int, []byte) error { return nil })
		}
		if err != nil {
			m.note(func() {
				m.trace = append(m.trace, fmt.Sprintf("FAULT %s: snapshot %.8s: %v", when, id, err))
				m.faults = append(m.faults, fmt.Sprintf("%s: snapshot %.8s: %v", when, id, err))
			})
		}
	}
	m.note(func() {
		for id := range m.reported {
			if !there[id] && !m.dropped[id] && !away[id] && !m.away[id] {
				m.faults = append(m.faults, fmt.Sprintf("%s: snapshot %.8s was reported and is not there", when, id))
			}
		}
	})
}

// direct opens the repository on the server itself.
func (m *model) direct() *Repo {
	return m.open(m.mem)
}

// clean checks that a prune a day later leaves exactly what is needed, and that check finds no damage.
func (m *model) clean() {
	time.Sleep(24 * time.Hour)
	ctx := context.Background()
	// A dead process may have left a lease dated in the future. It ends half an hour after it was seen.
	if m.jumps != nil {
		r := m.direct()
		if _, err := r.Prune(ctx, PruneOptions{MaxRepack: 1 << 40, Sure: true}, markModel(r), nil); err != nil && !errors.Is(err, ErrInUse) {
			m.faults = append(m.faults, fmt.Sprintf("the last prune but one: %v", err))
			return
		}
		time.Sleep(time.Hour)
	}
	for range 2 { // markers of the first prune may wait for the second
		r := m.direct()
		if _, err := r.Prune(ctx, PruneOptions{MaxRepack: 1 << 40, Sure: true}, markModel(r), nil); err != nil {
			m.faults = append(m.faults, fmt.Sprintf("the last prune: %v", err))
			return
		}
	}
	m.whole("in the end")
	r := m.direct()
	report, err := r.Check(ctx, CheckOptions{ReadData: true}, nil)
	if err != nil || len(report.Damage) > 0 {
		m.faults = append(m.faults, fmt.Sprintf("check: %v, %q", err, report.Damage))
		return
	}
	marks := newMarks(r.view().index)
	ids, err := r.ListSnapshots(ctx)
	if err == nil {
		err = markModel(r)(ctx, ids, marks)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	s, err := r.scanPacks(ctx, marks)
	if err != nil {
		m.t.Fatal(err)
	}
	for id, u := range s.packs {
		if u.unused() > 0 || u.missing || u.orphan {
			m.faults = append(m.faults, fmt.Sprintf("pack %.8s is left with %d of %d bytes needed (gone: %t, in no index: %t)", id, u.live, u.raw, u.missing, u.orphan))
		}
	}
	for _, dir := range []string{layout.Work, layout.Pending} {
		if files, _ := layout.List(ctx, m.mem, dir); len(files) > 0 {
			m.faults = append(m.faults, fmt.Sprintf("%d files are left in %s", len(files), dir))
		}
	}
}

// playSchedule runs one schedule, and returns what went wrong.
func playSchedule(t *testing.T, template *Repo, seed uint64) (faults []string) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := &model{
			t: t, template: template, reported: map[pack.FileID]bool{}, dropped: map[pack.FileID]bool{}, away: map[pack.FileID]bool{},
			scheduler: &scheduler{rnd: rnd, mem: new(store.Mem)},
		}
		m.mem.Clock = m.serverTime
		if seed%5 == 3 {
			m.jumps = rand.New(rand.NewPCG(seed, 2))
		}
		if seed%3 == 0 {
			m.memory = t.TempDir()
		}
		switch seed % 8 {
		case 1, 3:
			m.lag = time.Minute
		case 5, 7:
			m.lag = 5 * time.Minute
		case 6:
			m.lag, m.vague = 5*time.Minute, true
		}
		config, err := (&Repo{
			id: template.id, master: template.master,
			config: Config{Settings: DefaultSettings, WriteFeatures: writeFeatures()},
		}).encodeConfig()
		if err = errors.Join(err, m.mem.Put(t.Context(), layout.Config, config)); err != nil {
			t.Fatal(err)
		}
		for i := range 7 {
			m.universe = append(m.universe, noiseChunks(byte(i), 1, 300)[0])
		}
		for range 2 {
			if err := m.backup(t.Context(), m.direct(), m.pick()); err != nil {
				t.Fatal(err)
			}
		}
		m.run(m.programs())
		m.whole("when all have ended")
		m.clean()
		if faults = m.faults; len(faults) > 0 {
			t.Logf("seed %d:\n%s", seed, strings.Join(m.trace, "\n"))
		}
	})
	return faults
}

// TestSchedules interleaves backups, a forget and prunes, one store operation at a time. Listings lag, and clocks are
// wrong; the server's clock is set. Answers are lost, machines sleep past their leases, and machines die. Listings lag
// by up to five minutes. Some machines can refresh theirs, and assume that other machines' listings lag by one minute;
// others can only wait.
//
// In every order, all existing snapshots are whole, and reported ones exist. A reader can read to its end. Files that
// were moved away are of use when they are put back. In the end nothing is left over.
//
// A seed decides the kind of schedule and most choices in it. Names are random, so the same seed plays otherwise each time,
// and every run tries new schedules. There are 4,000; with PLATTER_TORTURE=1, 23,500. With -short there is one of each of
// the 120 kinds that playSchedule makes. PLATTER_SEED=N with -count plays one seed again and again, and
// PLATTER_SCHEDULES=N plays N schedules.
func TestSchedules(t *testing.T) {
	template := testRepo(t, new(store.Mem))
	// Larger ones would spend most of the time on clearing memory.
	template.config.FrameSize, template.config.PackSize = 4<<10, 16<<10
	if text := os.Getenv("PLATTER_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range playSchedule(t, template, seed) {
			t.Error(fault)
		}
		return
	}
	schedules := uint64(4_000)
	switch n, err := strconv.ParseUint(os.Getenv("PLATTER_SCHEDULES"), 10, 64); {
	case err == nil:
		schedules = n
	case testing.Short():
		schedules = 120
	case torture():
		schedules = 23_500
	}
	const parts = 4
	for part := range uint64(parts) {
		t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
			t.Parallel()
			for seed := part; seed < schedules; seed += parts {
				if faults := playSchedule(t, template, seed); len(faults) > 0 {
					t.Fatalf("PLATTER_SEED=%d, perhaps after many tries: %s", seed, faults)
				}
			}
		})
	}
}
