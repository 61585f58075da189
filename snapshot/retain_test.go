package snapshot

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // Berlin's clocks, on any machine

	"platter/pack"
)

func berlin(t testing.TB) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// numbered makes versions of one disk, numbered by the first byte of their IDs. Times are local unless a zone follows.
func numbered(t testing.TB, loc *time.Location, times ...string) (all []*Snapshot) {
	t.Helper()
	for i, text := range times {
		at, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
		if err != nil {
			if at, err = time.Parse("2006-01-02 15:04 -0700", text); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, &Snapshot{ID: pack.FileID{byte(i)}, Name: "web", Host: "a", Time: at})
	}
	return all
}

// decided describes what a policy keeps: the number of each version and its reasons.
func decided(t testing.TB, p Policy, all []*Snapshot, now time.Time, loc *time.Location) string {
	t.Helper()
	disks := p.Decide(all, now, loc)
	if len(disks) != 1 || len(disks[0].Decisions) != len(all) {
		t.Fatalf("%d disks of %d versions", len(disks), len(all))
	}
	var out []string
	for _, d := range disks[0].Decisions {
		if d.Stays() {
			out = append(out, fmt.Sprintf("%d %s", d.ID[0], strings.Join(d.Reasons, ", ")))
		}
	}
	return strings.Join(out, "; ")
}

func TestPolicy(t *testing.T) {
	loc := berlin(t)
	now := time.Date(2027, 1, 10, 12, 0, 0, 0, loc)
	for _, test := range []struct {
		name   string
		policy Policy
		times  []string
		want   string
	}{
		{"no rule", Policy{}, []string{"2026-01-01 00:00", "2026-01-02 00:00"}, "0 no rule; 1 no rule"},
		{"one version", Policy{Daily: 7}, []string{"2001-01-01 00:00"}, "0 daily 2001-01-01"},
		{"last", Policy{Last: 2}, []string{"2026-01-01 00:00", "2026-01-02 00:00", "2026-01-02 00:01"}, "1 last; 2 last"},
		{"last all", Policy{Last: All}, []string{"2026-01-01 00:00", "2026-01-02 00:00"}, "0 last; 1 last"},
		{"in any order", Policy{Last: 1}, []string{"2026-01-03 00:00", "2026-01-01 00:00", "2026-01-02 00:00"}, "0 last"},
		{"at one time the later id is the newer", Policy{Last: 1, Daily: 1}, []string{"2026-01-01 00:00", "2026-01-01 00:00"}, "1 last, daily 2026-01-01"},
		{
			"the newest of a day, days without versions left out",
			Policy{Daily: 2},
			[]string{"2026-01-01 01:00", "2026-01-01 23:59", "2026-03-01 00:00", "2026-03-01 05:00"},
			"1 daily 2026-01-01; 3 daily 2026-03-01",
		},
		{"days are local", Policy{Daily: 9}, []string{"2026-01-01 22:30 +0000", "2026-01-01 23:30 +0000"}, "0 daily 2026-01-01; 1 daily 2026-01-02"},
		{
			"the hour that is left out",
			Policy{Hourly: 9},
			[]string{"2026-03-29 00:59 +0000", "2026-03-29 01:00 +0000"},
			"0 hourly 2026-03-29 01:00; 1 hourly 2026-03-29 03:00",
		},
		{
			"the hour that comes twice",
			Policy{Hourly: 9, Daily: 9},
			[]string{"2026-10-25 00:10 +0000", "2026-10-25 00:20 +0000", "2026-10-25 01:10 +0000"},
			"1 hourly 2026-10-25 02:00; 2 hourly 2026-10-25 02:00, daily 2026-10-25",
		},
		{
			"a day of 23 hours",
			Policy{Daily: 9},
			[]string{"2026-03-28 22:59 +0000", "2026-03-28 23:00 +0000", "2026-03-29 21:59 +0000", "2026-03-29 22:00 +0000"},
			"0 daily 2026-03-28; 2 daily 2026-03-29; 3 daily 2026-03-30",
		},
		{
			"week 53 has days of two years",
			Policy{Weekly: 9, Yearly: 9},
			[]string{"2026-12-27 12:00", "2026-12-28 12:00", "2026-12-31 12:00", "2027-01-03 12:00", "2027-01-04 12:00"},
			"0 weekly 2026-W52; 2 yearly 2026; 3 weekly 2026-W53; 4 weekly 2027-W01, yearly 2027",
		},
		{"week 1 begins in December", Policy{Weekly: 9}, []string{"2024-12-29 12:00", "2024-12-30 12:00", "2025-01-01 12:00"}, "0 weekly 2024-W52; 2 weekly 2025-W01"},
		{"the year's last second", Policy{Monthly: 9, Yearly: 1}, []string{"2025-12-31 22:59 +0000", "2025-12-31 23:00 +0000"}, "0 monthly 2025-12; 1 monthly 2026-01, yearly 2026"},
		{"months", Policy{Monthly: 2}, []string{"2025-11-30 00:00", "2026-01-31 00:00", "2026-02-01 00:00", "2026-02-28 00:00"}, "1 monthly 2026-01; 3 monthly 2026-02"},
		{
			"a version in the future counts nowhere",
			Policy{Last: 1, Daily: 1, Within: Span{Days: 1}},
			[]string{"2026-01-01 00:00", "2026-01-05 00:00", "2027-01-10 12:06", "2099-01-01 00:00"},
			"1 last, daily 2026-01-05, within 1d; 2 time in the future; 3 time in the future",
		},
		{"clocks that hardly differ", Policy{Last: 1}, []string{"2026-01-01 00:00", "2027-01-10 12:05"}, "1 last"},
		{"only the future", Policy{Last: 1}, []string{"2099-01-01 00:00"}, "0 time in the future"},
		{"no rule, and the future", Policy{}, []string{"2026-01-01 00:00", "2099-01-01 00:00"}, "0 no rule; 1 time in the future"},
		{"within, from the newest", Policy{Within: Span{Days: 7}}, []string{"2020-05-01 11:59", "2020-05-01 12:00", "2020-05-08 12:00"}, "1 within 7d; 2 within 7d"},
		{"a month before the 31st", Policy{Within: Span{Months: 1}}, []string{"2026-02-28 11:59", "2026-02-28 12:00", "2026-03-31 12:00"}, "1 within 1m; 2 within 1m"},
		{"a day before the clocks go on", Policy{Within: Span{Days: 1}}, []string{"2026-03-28 11:59", "2026-03-28 12:00", "2026-03-29 12:00"}, "1 within 1d; 2 within 1d"},
		{"24 hours before that", Policy{Within: Span{Hours: 24}}, []string{"2026-03-28 10:59", "2026-03-28 11:00", "2026-03-29 12:00"}, "1 within 24h; 2 within 24h"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := decided(t, test.policy, numbered(t, loc, test.times...), now, loc); got != test.want {
				t.Errorf("kept\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestPolicyTags(t *testing.T) {
	all := numbered(t, time.UTC, "2026-01-01 00:00", "2026-01-02 00:00", "2026-01-03 00:00")
	all[0].Tags, all[1].Tags = []string{"x", "y"}, []string{"xx"}
	if got := decided(t, Policy{Tags: []string{"y", "x", "z"}}, all, all[2].Time, time.UTC); got != "0 tag y, tag x" {
		t.Error(got)
	}
	if got := decided(t, Policy{Tags: []string{"z"}}, all, all[2].Time, time.UTC); got != "" {
		t.Error(got)
	}
}

// TestPolicyMidnightTwice has a day that ends and comes again: in Newfoundland, clocks were set back at 00:01.
func TestPolicyMidnightTwice(t *testing.T) {
	loc, err := time.LoadLocation("America/St_Johns")
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(2010, 11, 7, 0, 0, 30, 0, loc)
	all := numbered(t, loc, "2010-11-06 12:00")
	for i, after := range []time.Duration{0, time.Minute, 2 * time.Hour} {
		all = append(all, &Snapshot{ID: pack.FileID{byte(i + 1)}, Name: "web", Host: "a", Time: first.Add(after)})
	}
	if got := decided(t, Policy{Daily: 3}, all, all[3].Time, loc); got != "2 daily 2010-11-06; 3 daily 2010-11-07" {
		t.Error(got)
	}
}

func TestPolicyByDisk(t *testing.T) {
	now := time.Date(2026, 1, 9, 0, 0, 0, 0, time.UTC)
	all := numbered(t, time.UTC, "2026-01-01 00:00", "2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00", "2026-01-05 00:00")
	all[1].Host, all[2].Name, all[4].Host = "b", "db", "b"
	got := ""
	for _, v := range (Policy{Last: 1}).Decide(all, now, time.UTC) {
		got += v.String()
		for _, d := range v.Decisions {
			got += fmt.Sprintf(" %d:%v", d.ID[0], d.Stays())
		}
		got += "; "
	}
	if want := "db (host a) 2:true; web (host a) 0:false 3:true; web (host b) 1:false 4:true; "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
