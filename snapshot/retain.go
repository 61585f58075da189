package snapshot

import (
	"fmt"
	"slices"
	"time"
)

// A Policy says which versions of a disk stay. One reason is enough for a version to stay.
//
// Hours, days, weeks (of ISO 8601, from Monday), months and years are those of the calendar, in the time zone of the
// caller. Only periods that have a version count, however long ago they are. The newest version of each stays: with
// Daily: 7, a machine that was off for a year keeps its last seven days of work.
//
// Whole versions come first. In a period, a version that was modified while it was read stays only if there is no whole
// one. A version with unreadable bytes stays only if there is nothing better. The newest version always stays. If one
// stays that is not whole, the newest of each better grade stays, too. So no policy leaves a disk with worse versions
// only.
type Policy struct {
	Last                                   int  // the newest ones; All for all, 0 for no rule, as below
	Hourly, Daily, Weekly, Monthly, Yearly int  // the newest of each of that many hours, days, …
	Within                                 Span // all that are at most that much older than the newest
	Tags                                   []string
}

// All stands for every hour, day, … in a Policy.
const All = -1

// Empty reports whether the policy has no rule.
func (p Policy) Empty() bool {
	for _, rule := range p.rules() {
		if rule.most != 0 {
			return false
		}
	}
	return p.Within == Span{} && len(p.Tags) == 0
}

// A rule keeps the newest version of each period, up to a number of periods.
type rule struct {
	name string
	most int
	// period returns a key, which is the same for all versions of a period. If period is nil, each version has its own.
	period func(time.Time) (key, words string)
}

func (p Policy) rules() []rule {
	layout := func(words string) func(time.Time) (string, string) {
		return func(t time.Time) (string, string) { return t.Format(words), t.Format(words) }
	}
	return []rule{
		{"last", p.Last, nil},
		// The hour that repeats when summer time ends counts as two hours.
		{"hourly", p.Hourly, func(t time.Time) (string, string) {
			return t.Format("2006-01-02 15 -0700"), t.Format("2006-01-02 15:00")
		}},
		{"daily", p.Daily, layout(time.DateOnly)},
		{"weekly", p.Weekly, func(t time.Time) (string, string) {
			year, week := t.ISOWeek()
			words := fmt.Sprintf("%d-W%02d", year, week)
			return words, words
		}},
		{"monthly", p.Monthly, layout("2006-01")},
		{"yearly", p.Yearly, layout("2006")},
	}
}

// decide sets the reasons of all decisions on one disk, which are sorted oldest first.
//
// A version from the future comes from a wrong clock. It must not replace real ones, so no rule counts it and Within is
// not measured from it. Its age is unknown, so it stays.
func (p Policy) decide(decisions []Decision, loc *time.Location) {
	var real []*Decision // newest first
	for i := range slices.Backward(decisions) {
		if d := &decisions[i]; d.Future {
			d.because("time in the future")
		} else {
			real = append(real, d)
		}
	}
	grades := gradesOf(real)
	counted := false
	for _, rule := range p.rules() {
		rule.apply(real, grades, loc)
		counted = counted || rule.most != 0
	}
	if counted && len(real) > 0 && !real[0].Stays() {
		real[0].because("newest")
	}
	p.keepWithin(real, loc)
	for _, d := range real {
		for _, tag := range p.Tags {
			if slices.Contains(d.Tags, tag) {
				d.because("tag " + tag)
			}
		}
	}
	keepBetter(real, grades)
}

// apply gives a reason to one version of each period: the newest of the best grade. It remembers all periods, not only
// the last one: if a clock is set back across midnight, a day ends and comes again.
func (r rule) apply(newestFirst []*Decision, grades []grade, loc *time.Location) {
	if r.most == 0 {
		return
	}
	var order []string // of periods, the newest first
	best := map[string]int{}
	for i, d := range newestFirst {
		key := fmt.Sprint(i)
		if r.period != nil {
			key, _ = r.period(d.Time.In(loc))
		}
		if at, ok := best[key]; !ok {
			order = append(order, key)
			best[key] = i
		} else if grades[i] < grades[at] {
			best[key] = i
		}
	}
	if r.most != All {
		order = order[:min(r.most, len(order))]
	}
	for _, key := range order {
		d, words := newestFirst[best[key]], ""
		if r.period != nil {
			_, words = r.period(d.Time.In(loc))
			words = " " + words
		}
		d.because(r.name + words)
	}
}

// keepWithin measures from the newest version, not from now. So a disk whose backups have stopped does not lose its
// versions over time.
func (p Policy) keepWithin(newestFirst []*Decision, loc *time.Location) {
	if p.Within == (Span{}) || len(newestFirst) == 0 {
		return
	}
	from := p.Within.Before(newestFirst[0].Time.In(loc))
	for _, d := range newestFirst {
		if !d.Time.Before(from) {
			d.because("within " + p.Within.String())
		}
	}
}

// Decide returns the decisions on each version under the policy, disk by disk. A policy without rules keeps everything.
func (p Policy) Decide(snapshots []*Snapshot, now time.Time, loc *time.Location) []Versions {
	disks := versions(snapshots, now)
	for _, v := range disks {
		p.decide(v.Decisions, loc)
		for i := range v.Decisions {
			if p.Empty() && !v.Decisions[i].Future {
				v.Decisions[i].because("no rule")
			}
		}
	}
	return disks
}
