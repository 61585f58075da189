package snapshot

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"platter/pack"
)

// randomPolicy returns a policy with random rules, most of which are often absent.
func randomPolicy(rnd *rand.Rand) Policy {
	n := func() int { return max(All, rnd.IntN(12)-6) * min(1, rnd.IntN(3)) }
	p := Policy{Last: n(), Hourly: n(), Daily: n(), Weekly: n(), Monthly: n(), Yearly: n()}
	if rnd.IntN(3) == 0 {
		p.Within = Span{Months: rnd.IntN(3), Days: rnd.IntN(20), Hours: rnd.IntN(30)}
	}
	if rnd.IntN(4) == 0 {
		p.Tags = []string{"x"}
	}
	return p
}

func randomVersions(rnd *rand.Rand, now time.Time) (all []*Snapshot) {
	spread := time.Duration(1+rnd.IntN(900)) * 24 * time.Hour
	for i := range rnd.IntN(60) {
		s := &Snapshot{ID: pack.FileID{byte(i)}, Name: "web", Host: "a", Time: now.Add(-time.Duration(rnd.Int64N(int64(spread)))).Truncate(time.Hour)}
		if rnd.IntN(10) == 0 {
			s.Time = now.Add(time.Duration(rnd.Int64N(int64(spread))))
		}
		if rnd.IntN(5) == 0 {
			s.Tags = []string{"x"}
		}
		s.Modified = rnd.IntN(4) == 0
		s.Unreadable = int64(max(0, rnd.IntN(4)-2)) * 512
		all = append(all, s)
	}
	return all
}

func kept(p Policy, all []*Snapshot, now time.Time, loc *time.Location) map[*Snapshot]bool {
	out := map[*Snapshot]bool{}
	for _, v := range p.Decide(all, now, loc) {
		for _, d := range v.Decisions {
			if d.Stays() {
				out[d.Snapshot] = true
			}
		}
	}
	return out
}

// TestPolicyProperties checks any policy on any versions. A larger rule never keeps less. The newest version stays
// under any rule except tags. Applying the policy again removes nothing more. Versions added in the future change
// nothing.
func TestPolicyProperties(t *testing.T) {
	loc := berlin(t)
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rnd.IntN(400*24)) * time.Hour)
		p, all := randomPolicy(rnd), randomVersions(rnd, now)
		before := kept(p, all, now, loc)
		wantSubset := func(what string, a, b map[*Snapshot]bool) {
			for s := range a {
				if !b[s] {
					t.Fatalf("seed %d: %s: %+v drops %v", seed, what, p, s.Time)
				}
			}
		}
		if more := moreOf(p, rnd); !p.Empty() {
			wantSubset(fmt.Sprintf("more of it is %+v", more), before, kept(more, all, now, loc))
		}
		again := kept(p, slices.Collect(maps.Keys(before)), now, loc)
		wantSubset("again", before, again)
		untagged := p
		untagged.Tags = nil
		if newest := newestBy(all, now); newest != nil && !untagged.Empty() && !before[newest] {
			t.Fatalf("seed %d: %+v drops the newest", seed, p)
		}
		ahead := append(slices.Clone(all), &Snapshot{ID: pack.FileID{200}, Name: "web", Host: "a", Time: now.Add(time.Hour)})
		if text := worseOnly(all, before, now); text != "" {
			t.Fatalf("seed %d: %+v %s", seed, p, text)
		}
		if after := kept(p, ahead, now, loc); len(after) != len(before)+1 {
			t.Fatalf("seed %d: with one from the future %d stay, not %d and it", seed, len(after), len(before))
		}
	}
}

// worseOnly describes a failure: a version stays that is not whole, but the newest whole version, or the newest without
// unreadable bytes, does not.
func worseOnly(all []*Snapshot, stays map[*Snapshot]bool, now time.Time) string {
	isWhole := func(s *Snapshot) bool { return s.Unreadable == 0 && !s.Modified }
	isReadable := func(s *Snapshot) bool { return s.Unreadable == 0 }
	for what, good := range map[string]func(*Snapshot) bool{"whole": isWhole, "readable": isReadable} {
		var some []*Snapshot
		for _, s := range all {
			if good(s) {
				some = append(some, s)
			}
		}
		best := newestBy(some, now)
		for s := range stays {
			if !s.Time.After(now) && !good(s) && best != nil && !slices.ContainsFunc(some, func(s *Snapshot) bool { return stays[s] && !s.Time.After(now) }) {
				return fmt.Sprintf("keeps %v, which is not %s, and no such version, though there is one of %v", s.Time, what, best.Time)
			}
		}
	}
	return ""
}

// moreOf returns a policy with one larger rule.
func moreOf(p Policy, rnd *rand.Rand) Policy {
	counts := []*int{&p.Last, &p.Hourly, &p.Daily, &p.Weekly, &p.Monthly, &p.Yearly}
	if n := counts[rnd.IntN(len(counts))]; *n != All {
		*n += 1 + rnd.IntN(3)
		if rnd.IntN(5) == 0 {
			*n = All
		}
	}
	if (p.Within != Span{}) {
		p.Within.Months += rnd.IntN(2)
		p.Within.Days += rnd.IntN(3)
	}
	return p
}

func newestBy(all []*Snapshot, now time.Time) (newest *Snapshot) {
	for _, s := range all {
		if !s.Time.After(now) && (newest == nil || !s.Time.Before(newest.Time)) {
			newest = s
		}
	}
	return newest
}
