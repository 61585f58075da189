//go:build unix

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"platter/pack"
	"platter/repo"
	"platter/repo/store/storetest"
)

// TestVerdictsShown prints the results of boot checks with their versions, and removes them with these.
func TestVerdictsShown(t *testing.T) {
	s := newSite(t)
	for seed := range uint64(3) {
		s.must("backup", s.disk("disk", 1<<20, seed, "random"), "--name", "disk")
	}
	if out := s.must("snapshots"); strings.Contains(out, "Boots") {
		t.Errorf("no version was checked, and snapshots prints\n%s", out)
	}
	r, err := repo.Open(t.Context(), storetest.OpenLocal(t, s.repo, nil), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	ids := s.snapshots()
	put := func(id string, at int, passed bool, reason string) {
		t.Helper()
		file, err := pack.ParseFileID(id)
		if err != nil {
			t.Fatal(err)
		}
		v := repo.Verdict{Snapshot: file, Test: repo.BootTest, Passed: passed, Reason: reason, Time: time.Unix(1_800_000_000+int64(at), 0), Seconds: 12, Host: "nas"}
		if err := r.PutVerdict(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	put(ids[0].ID, 0, true, "a login prompt")
	put(ids[0].ID, 1, false, "the kernel panics")
	put(ids[1].ID, 2, true, "a login prompt")

	lines := strings.Split(s.must("snapshots"), "\n")
	for i, want := range []string{"Boots", "no", "yes", ""} {
		if got := strings.TrimSpace(lines[i]); !strings.HasSuffix(got, want) || want == "" && (strings.HasSuffix(got, "no") || strings.HasSuffix(got, "yes")) {
			t.Errorf("line %d is %q, and ends otherwise than in %q", i, got, want)
		}
	}
	type boot struct {
		Passed       bool
		Reason, Host string
		Time         time.Time
	}
	var list []struct{ Boot *boot }
	s.query(&list, "snapshots")
	want := boot{false, "the kernel panics", "nas", time.Unix(1_800_000_001, 0).UTC()}
	if list[0].Boot == nil || *list[0].Boot != want || list[1].Boot == nil || !list[1].Boot.Passed || list[2].Boot != nil {
		t.Errorf("snapshots --json prints %+v", list)
	}
	var one struct{ Boot *boot }
	if s.query(&one, "show", ids[0].ID); one.Boot == nil || *one.Boot != want {
		t.Errorf("show --json prints %+v", one.Boot)
	}
	if out := s.must("show", ids[0].ID); !strings.Contains(out, "\nboot      does not boot, checked ") || !strings.Contains(out, " by nas: the kernel panics\n") {
		t.Errorf("show prints\n%s", out)
	}
	if out := s.must("show", ids[2].ID); strings.Contains(out, "\nboot ") {
		t.Errorf("show prints\n%s", out)
	}

	// A check that is an hour old goes with its version.
	for _, name := range filesIn(t, s.path("repo/verdicts")) {
		at := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(s.path("repo/verdicts/"+name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	s.must("forget", ids[0].ID, "--yes")
	if left := filesIn(t, s.path("repo/verdicts")); len(left) != 2 {
		t.Fatalf("%q are left", left)
	}
	s.must("prune", "--grace", "0s")
	if left := filesIn(t, s.path("repo/verdicts")); len(left) != 1 {
		t.Errorf("%q are left", left)
	}
	s.sound()
}
