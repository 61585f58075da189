package repo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// A scrubber checks a repository repeatedly, at chosen times, and reports which packs were read whole.
type scrubber struct {
	t      *testing.T
	behind *store.Mem
	folder string
	now    time.Time
	packs  []string // packs in the repository
}

func newScrubber(t *testing.T) *scrubber {
	mem := new(store.Mem)
	mustSave(t, testRepo(t, mem), noiseChunks(1, 60, 100_000))
	s := &scrubber{t: t, behind: mem, folder: t.TempDir(), now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	for name := range storetest.Files(t, mem) {
		if layout.Dir(name) == layout.Packs {
			s.packs = append(s.packs, name)
		}
	}
	if len(s.packs) < 5 {
		t.Fatalf("%d packs", len(s.packs))
	}
	return s
}

// A readSpy is a store that reports when a read of a whole pack begins.
type readSpy struct {
	store.Store
	begun func(name string) error
}

func (s *readSpy) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if off == 0 && n > pack.HeaderSize && layout.Dir(name) == layout.Packs && s.begun != nil {
		if err := s.begun(name); err != nil {
			return nil, err
		}
	}
	return s.Store.Get(ctx, name, off, n)
}

func (s *scrubber) open() (*Repo, *readSpy) {
	r := reopen(s.t, s.behind)
	r.workers = 1
	r.UseMemory(s.folder)
	r.now = func() time.Time { return s.now }
	spy := &readSpy{Store: s.behind}
	r.setStore(spy)
	return r, spy
}

// check runs Check, and returns the packs that were read from their first byte on, in order.
func (s *scrubber) check(o CheckOptions) ([]string, *Report) {
	s.t.Helper()
	r, spy := s.open()
	var read []string
	spy.begun = func(name string) error {
		read = append(read, name) // one worker, so one pack at a time
		return nil
	}
	report, err := r.Check(context.Background(), o, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if report.PacksRead != len(read) || report.Forgetful != nil {
		s.t.Errorf("it says %d packs were read, not %d (%v)", report.PacksRead, len(read), report.Forgetful)
	}
	return read, report
}

func (s *scrubber) file() string {
	r, _ := s.open()
	return filepath.Join(s.folder, r.ID(), scrubName)
}

const day = 24 * time.Hour

func TestScrub(t *testing.T) {
	s := newScrubber(t)
	all := len(s.packs)
	if read, _ := s.check(CheckOptions{}); len(read) > 0 {
		t.Fatalf("%d packs are read by a check that reads none", len(read))
	}
	if _, err := os.Stat(s.file()); err == nil {
		t.Error("a check that reads nothing remembers something")
	}

	// A third of the bytes each time. The pack that was read longest ago comes first, so all packs are read once before
	// any is read twice.
	third := CheckOptions{ReadPacks: true, Sample: 1.0 / 3}
	last := map[string]time.Time{} // when each pack was read
	largest := int64(0)
	for _, name := range s.packs {
		file, err := s.behind.Get(t.Context(), name, 0, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, int64(len(file)))
	}
	var again []string
	for n := range 4 {
		read, report := s.check(third)
		if min := report.PackBytes / 3; report.ReadBytes < min || report.ReadBytes > min+largest {
			t.Errorf("%d of %d bytes were read", report.ReadBytes, report.PackBytes)
		}
		for _, name := range s.packs {
			for _, other := range read {
				if !slices.Contains(read, name) && last[other].After(last[name]) {
					t.Errorf("the third number %d reads what was read at %v, and not what was read at %v", n+1, last[other], last[name])
				}
			}
		}
		for _, name := range read {
			last[name] = s.now
		}
		if n == 2 && len(last) != all {
			t.Fatalf("%d of %d packs were read in three thirds", len(last), all)
		}
		if again = read; n < 3 {
			s.now = s.now.Add(day)
		}
	}

	// Only packs not read for that long: all but those that were read just now.
	read, report := s.check(CheckOptions{ReadPacks: true, Since: day - time.Second})
	if len(read) == 0 || len(read)+report.Recent != all || slices.Contains(read, again[0]) {
		t.Errorf("%d packs were read, %d were read not long ago, of %d", len(read), report.Recent, all)
	}
	if read, report = s.check(CheckOptions{ReadPacks: true, Since: 30 * day}); len(read) > 0 || report.Recent != all {
		t.Errorf("%d packs were read again", len(read))
	}
	// That read did not verify their chunks.
	if read, report = s.check(CheckOptions{ReadData: true, Since: 30 * day, Sample: 0.5}); len(read) < all/2 || report.Recent > 0 {
		t.Errorf("%d packs were read for their data, %d were not", len(read), report.Recent)
	}
	half := len(read)
	if read, report = s.check(CheckOptions{ReadData: true, Since: 30 * day}); len(read) != all-half || report.Recent != half {
		t.Errorf("%d packs were read for their data, %d were not", len(read), report.Recent)
	}
	s.now = s.now.Add(31 * day)
	if read, _ = s.check(CheckOptions{ReadData: true, Since: 30 * day}); len(read) != all {
		t.Errorf("%d packs were read after a month", len(read))
	}
	s.now = s.now.Add(-15 * day) // times in the future are not believed
	if read, _ = s.check(CheckOptions{ReadData: true, Since: 30 * day}); len(read) != all {
		t.Errorf("%d packs were read by a clock that went back", len(read))
	}
}

// TestScrubWithoutMemory checks that chance reaches all packs if nothing is remembered.
func TestScrubWithoutMemory(t *testing.T) {
	s := newScrubber(t)
	s.folder = ""
	seen := map[string]bool{}
	for range 200 {
		read, _ := s.check(CheckOptions{ReadPacks: true, Sample: 0.01})
		if len(read) != 1 {
			t.Fatalf("%d packs were read", len(read))
		}
		seen[read[0]] = true
	}
	if len(seen) != len(s.packs) {
		t.Errorf("%d of %d packs came by", len(seen), len(s.packs))
	}
}

// TestScrubDamage checks that a damaged pack counts as never read, and comes first.
func TestScrubDamage(t *testing.T) {
	ctx := context.Background()
	s := newScrubber(t)
	s.check(CheckOptions{ReadData: true})
	s.now = s.now.Add(31 * day)
	name := s.packs[0]
	whole := storetest.Flip(t, s.behind, name)
	if _, report := s.check(CheckOptions{ReadData: true}); !lists(report, name) {
		t.Fatalf("%q", report.Damage)
	}
	for range 2 { // as long as it is damaged
		if read, report := s.check(CheckOptions{ReadPacks: true, Since: 30 * day}); !slices.Equal(read, []string{name}) || !lists(report, name) {
			t.Fatalf("%q, %q", read, report.Damage)
		}
	}
	if err := s.behind.Put(ctx, name, whole); err != nil {
		t.Fatal(err)
	}
	if read, report := s.check(CheckOptions{ReadData: true, Sample: 0.01}); !slices.Equal(read, []string{name}) || len(report.Damage) > 0 || report.Cleared != 1 {
		t.Fatalf("%q, %+v", read, report)
	}
	if read, _ := s.check(CheckOptions{ReadData: true, Since: 30 * day}); len(read) > 0 {
		t.Fatalf("%q", read)
	}
}

// TestScrubInterrupted checks that an interrupted check remembers what it has read.
func TestScrubInterrupted(t *testing.T) {
	s := newScrubber(t)
	r, spy := s.open()
	ctx, cancel := context.WithCancel(context.Background())
	read := 0
	spy.begun = func(string) error {
		if read++; read == 4 {
			cancel()
		}
		return ctx.Err()
	}
	if _, err := r.Check(ctx, CheckOptions{ReadPacks: true}, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, report := s.check(CheckOptions{ReadPacks: true, Since: day}); report.Recent != 3 || report.PacksRead != len(s.packs)-3 {
		t.Errorf("%d packs were read again, %d were not", report.PacksRead, report.Recent)
	}
}

// TestScrubFile checks that a damaged file, one of another repository and garbage count for nothing. Two concurrent
// checks add up, and missing packs are dropped.
func TestScrubFile(t *testing.T) {
	ctx := context.Background()
	s := newScrubber(t)
	s.check(CheckOptions{ReadPacks: true})
	whole, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.file())
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	other := newScrubber(t)
	other.check(CheckOptions{ReadPacks: true})
	foreign, err := os.ReadFile(other.file())
	if err != nil {
		t.Fatal(err)
	}
	tries := [][]byte{nil, foreign, []byte("platterS"), append(bytes.Clone(whole), 0)}
	for i := 0; i < len(whole); i += 7 {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		tries = append(tries, bad, whole[:i])
	}
	r, _ := s.open()
	for _, bad := range tries {
		if err := os.WriteFile(s.file(), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if log := openScrubLog(r, nil); len(log.old) > 0 {
			t.Fatalf("%d entries from a file that nothing proves", len(log.old))
		}
	}
	if err := os.WriteFile(s.file(), whole, 0o600); err != nil {
		t.Fatal(err)
	}

	there := map[pack.FileID]int64{{1}: 1, {2}: 1}
	a, b := openScrubLog(r, there), openScrubLog(r, there)
	a.add(pack.FileID{1}, false)
	b.add(pack.FileID{2}, true)
	a.save()
	b.save()
	if log := openScrubLog(r, there); len(log.old) != 2 || log.at(pack.FileID{1}, false) == 0 || log.at(pack.FileID{1}, true) != 0 || log.at(pack.FileID{2}, true) == 0 {
		t.Errorf("after two at once: %v", log.old)
	}
	if err := s.behind.Delete(ctx, s.packs[0]); err != nil {
		t.Fatal(err)
	}
	s.check(CheckOptions{ReadPacks: true})
	if log := openScrubLog(r, nil); len(log.old) != len(s.packs)-1 {
		t.Errorf("%d entries of %d packs", len(log.old), len(s.packs)-1)
	}
	left, err := os.ReadDir(filepath.Dir(s.file()))
	if err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".tmp") }) {
		t.Errorf("%v, %v", left, err)
	}
}

// TestScrubSavesNowAndThen checks that a killed process has saved most of its reads.
func TestScrubSavesNowAndThen(t *testing.T) {
	s := newScrubber(t)
	r, _ := s.open()
	log := openScrubLog(r, nil)
	log.add(pack.FileID{1}, false)
	if len(openScrubLog(r, nil).old) > 0 {
		t.Error("it is written with every pack")
	}
	s.now = s.now.Add(scrubSaved)
	log.add(pack.FileID{2}, false)
	if n := len(openScrubLog(r, nil).old); n != 2 {
		t.Errorf("%d entries", n)
	}
}
