package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"platter/chunk"
	"platter/snapshot/diskmap"
)

// hostileTime is how long a command may take over a hostile repository.
const hostileTime = 30 * time.Second

// TestHostile makes a repository hostile in every way that the owner of the NAS and a holder of the keys can, and runs all
// commands over it. None takes more memory than over another repository, or long; none panics or prints what could move a
// cursor; those that cannot do what they were asked for say so; and prune deletes nothing that is needed.
func TestHostile(t *testing.T) {
	base := newMeasuredSite(t, cheapKDF...)
	base.must("backup", base.disk("live", 3<<20, 1, "random"), "--name", "live")
	base.must("backup", base.disk("old", 1<<20, 2, "random"), "--name", "old")
	base.must("backup", base.disk("other", 1<<20, 3, "random"), "--name", "old")
	base.disk("next", 1<<20, 4, "random")
	for _, c := range hostileCases() {
		t.Run(c.name, func(t *testing.T) {
			x := base.copied(t)
			x.must("snapshots") // the cache is as it is before anybody is hostile
			f := newForger(x)
			c.make(f)
			x.suffers(c)
			f.undone()
			x.start(nil, "snapshots", "--accept").wait() // some are missing
			x.must("repair", "index")
			x.must("prune", "--max-unused", "0", "--grace", "0s")
			x.restores("live", x.path("live"))
			x.sound()
		})
	}
}

// A hostileCase is one way to make a repository hostile, and how commands end in it, 0 unless something else is said.
type hostileCase struct {
	name     string
	snapshot bool // there is one called "hostile" to be restored
	make     func(f *forger)
	ends     map[string]int
}

// suffers runs all commands.
func (s *site) suffers(c hostileCase) {
	target := "live"
	if c.snapshot {
		target = "hostile"
	}
	for _, args := range [][]string{
		{"snapshots"},
		{"snapshots", "--json"},
		{"check"},
		{"check", "--read-data"},
		{"restore", target, s.path("to"), "--force", "--verify"},
		{"backup", s.path("next"), "--name", "next"},
		{"forget", "old~1"},
		{"prune", "--max-unused", "0", "--grace", "0s"},
		{"stats"},
	} {
		code, ok := c.ends[strings.Join(args, " ")] // all of it is named where it matters
		if !ok {
			code = c.ends[args[0]]
		}
		s.endures(code, args...)
	}
}

// endures runs a command and holds it to an exit code and to its bounds.
func (s *site) endures(code int, args ...string) {
	t := s.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hostileTime)
	defer cancel()
	p, peak := s.command(args...), s.path("peak")
	measure, err := exec.LookPath("measure")
	if err != nil {
		t.Fatal(err)
	}
	p.Path, p.Args = measure, append([]string{"measure", peak, s.program}, args...)
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	late := context.AfterFunc(ctx, func() { _ = syscall.Kill(-p.Process.Pid, syscall.SIGINT) }) // all of them
	defer late()
	got := p.wait()
	if out := p.stdout.String() + p.stderr.String(); got != code {
		t.Errorf("%v ended with %d, want %d, and said\n%.2000s", args, got, code, out)
	} else if strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
		t.Errorf("%v panics:\n%.9000s", args, out)
	} else if at := strings.IndexFunc(out, func(c rune) bool { return c != '\n' && c != '\t' && !unicode.IsPrint(c) }); at >= 0 {
		t.Errorf("%v prints %q", args, out[at:min(len(out), at+40)])
	} else if len(out) > 64<<10 {
		t.Errorf("%v prints %d bytes", args, len(out))
	}
	text, err := os.ReadFile(peak)
	bytes, e := strconv.ParseInt(string(text), 10, 64)
	if err != nil || e != nil || bytes > most {
		t.Errorf("%v took %d MiB, %v, %v", args, bytes>>20, err, e)
	}
}

// TestEndlessLoss checks that of a disk with 2^36 ranges that are lost, or differ, the first are listed and the others counted.
func TestEndlessLoss(t *testing.T) {
	t.Parallel()
	s := newMeasuredSite(t, cheapKDF...)
	s.must("backup", s.disk("live", 1<<20, 1, "random"), "--name", "live")
	f := newForger(s)
	f.snapshot(1<<62, f.wider(5, page([]chunk.ID{{1}}, 32<<20, zeros30|32<<20)))
	var report checkJSON
	p := s.start(nil, "check", "--json")
	p.ends(3, "1 snapshot is not whole")
	if err := json.Unmarshal([]byte(p.stdout.String()), &report); err != nil || len(report.Lost) != 1 {
		t.Fatalf("%+v, %v", report.Lost, err)
	}
	lost := report.Lost[0]
	if lost.Bytes != 1<<61 || len(lost.Ranges) != maxLostRanges || lost.MoreRanges != 1<<36-maxLostRanges || lost.MoreBytes != 1<<61-maxLostRanges*32<<20 ||
		lost.Ranges[999] != (diskmap.Range{Off: 999 * 64 << 20, Len: 32 << 20}) {
		t.Errorf("check: %d ranges of %d bytes, and %d of %d", len(lost.Ranges), lost.Bytes, lost.MoreRanges, lost.MoreBytes)
	}
	p = s.start(nil, "check")
	p.ends(3, "")
	if out := p.stdout.String(); !strings.Contains(out, "2.0 EiB in 68719476736 ranges\n") || !strings.Contains(out, "\n  and 68719475736 more ranges, of 2.0 EiB\n") {
		t.Errorf("check says\n%.2000s", out[max(0, len(out)-2000):])
	}
	f.snapshot(1<<62, f.wide(5))
	var diff rangesJSON
	s.query(&diff, "diff", "hostile", "hostile~1")
	s.measured(nil, "diff", "hostile", "hostile~1")
	if len(diff.Ranges) != maxDiffRanges || diff.MoreRanges == 0 {
		t.Errorf("diff: %d ranges, and %d more", len(diff.Ranges), diff.MoreRanges)
	}
}
