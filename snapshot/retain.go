package snapshot

import (
	"fmt"
	"slices"
	"time"
)

// A Policy says which versions of a disk stay. A version stays for any one of its reasons.
//
// Hours, days, weeks (of ISO 8601: they begin on Monday), months and years are those of the calendar, in the time zone of
// whoever asks. Only those count in which there is a version, however long ago they are, and of each the newest version
// stays: a machine that was off for a year keeps its last seven days of work with Daily: 7.
//
// Whole versions come first. In a period, a mixture stays only where there is no whole version, and one with unreadable
// bytes only where there is nothing better. The newest version stays all the same, and wherever one stays that is not
// whole, so does the newest of each better grade: no policy leaves a disk with worse versions only.
type Policy struct {
	Last                                   int  // so many of the newest; All for all, 0 for no such rule, as with those below
	Hourly, Daily, Weekly, Monthly, Yearly int  // the newest of each of so many hours, days, …
	Within                                 Span // all that are no older than the newest by more
	Tags                                   []string
}

// All stands for every hour, day, … in a Policy.
const All = -1

// Empty reports whether there is no rule at all.
func (p Policy) Empty() bool {
	for _, rule := range p.rules() {
		if rule.most != 0 {
			return false
		}
	}
	return p.Within == Span{} && len(p.Tags) == 0
}

// A rule keeps the newest version of each period, for so many periods.
type rule struct {
	name   string
	most   int
	period func(time.Time) (key, words string) // versions with the same key share a period; nil: each has its own
}

func (p Policy) rules() []rule {
	layout := func(words string) func(time.Time) (string, string) {
		return func(t time.Time) (string, string) { return t.Format(words), t.Format(words) }
	}
	return []rule{
		{"last", p.Last, nil},
		// The hour that comes twice when summer time ends is two hours.
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

// decide fills in the reasons of all decisions on one disk, which are sorted oldest first.
//
// A version from the future is the work of a wrong clock. It must not stand in for real ones, so no rule counts it and
// Within is not measured from it; and since nobody knows how old it is, it stays.
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

// apply gives a reason to one version of each period: the newest of the best grade. It remembers all periods, not only the
// last one: where clocks are put back over midnight, a day is left and comes again.
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

// keepWithin measures from the newest version, not from now: a disk whose backups have stopped does not lose them by and by.
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

// Decide returns what becomes of each version under the policy, disk by disk. A policy without rules keeps everything.
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
