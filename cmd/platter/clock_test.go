package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runAt runs the program in this process while this machine's clock shows a time.
func (s *site) runAt(now time.Time, args ...string) (code int, stderr string) {
	s.t.Helper()
	env, _, said := testEnv(s.t)
	env.now = func() time.Time { return now }
	env.getenv = func(name string) string { return map[string]string{"PLATTER_PASSWORD": "secret"}[name] }
	err := newApp(env).RunContext(s.t.Context(), arrange(newApp(env), append([]string{"platter", "--repo", s.repo, "--no-cache"}, args...)))
	return env.report(err, false), said.String()
}

// TestClockOfYesterday checks that a backup by a clock that is behind the store's says so, and is guided all the same.
func TestClockOfYesterday(t *testing.T) {
	s := newSite(t)
	disk, now := s.disk("disk", 1<<20, 1, "random"), time.Now()
	for _, step := range []struct {
		now   time.Time
		args  string
		code  int
		words string
	}{
		{now.AddDate(0, 0, -9), "", 0, ""},
		{now.Add(-time.Minute), "", 0, ""},
		{now.AddDate(0, 0, -3), "", 3, "the clock of this machine is wrong, or was wrong then"},
		{now.AddDate(0, 0, -3), "--time=" + now.Format(time.RFC3339), 0, ""},
		{now.AddDate(0, 0, -20), "", 3, "the clock of this machine"},
		{now.AddDate(0, 0, -20), "--time=2020-01-01", 0, ""},
	} {
		args := append([]string{"backup", disk, "--name", "vm"}, strings.Fields(step.args)...)
		code, said := s.runAt(step.now, args...)
		if code != step.code || !strings.Contains(said, step.words) || step.words == "" && said != "" {
			t.Errorf("at %v, %v ends with %d, want %d: %s", step.now, args, code, step.code, said)
		}
	}
	var list []struct {
		ID, Parent string
		Time       time.Time
		Stats      struct{ New int64 }
	}
	s.query(&list, "snapshots")
	for _, v := range list {
		if v.Parent == "" && !v.Time.Equal(now.AddDate(0, 0, -9).Round(0)) {
			t.Errorf("%s of %v has no parent", v.ID, v.Time)
		}
	}
}

// TestClockOfTomorrow checks that a version from a clock that was ahead is never a parent.
func TestClockOfTomorrow(t *testing.T) {
	s := newSite(t)
	disk, now := s.disk("disk", 1<<20, 1, "random"), time.Now()
	for _, at := range []time.Time{now.AddDate(0, 0, -2), now.AddDate(5, 0, 0), now.Add(-time.Hour), now} {
		code, said := s.runAt(at, "backup", disk, "--name", "vm")
		if code != 0 || strings.Contains(said, "and the store's") != at.After(now) {
			t.Fatalf("at %v it ends with %d: %s", at, code, said)
		}
	}
	var list []struct{ ID, Parent string }
	s.query(&list, "snapshots") // by time: the wrong one is the last
	if len(list) != 4 || list[1].Parent != list[0].ID || list[2].Parent != list[1].ID {
		t.Errorf("the parents are %v", list)
	}
	code, said := s.runAt(now, "restore", "vm", filepath.Join(s.dir, "back"))
	if code != 0 || !strings.Contains(said, list[3].ID[:8]+" of vm is passed over") {
		t.Errorf("restore ends with %d: %s", code, said)
	}
}
