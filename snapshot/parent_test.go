package snapshot

import (
	"testing"
	"time"
)

// TestSucceed checks what precedes a version, by its name, the clocks, and a chosen time or parent.
func TestSucceed(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	at := func(name string, d time.Duration) *Snapshot {
		return &Snapshot{Name: name, Host: "h", Time: now.Add(d)}
	}
	first, second, ahead, far, foreign := at("vm", -3*day), at("vm", -day), at("vm", time.Minute), at("vm", 400*day), at("other", -day)
	all := []*Snapshot{first, foreign, second}
	plain := Coming{Name: "vm", Host: "h", Time: now, Now: now}
	with := func(change func(*Coming)) Coming {
		c := plain
		change(&c)
		return c
	}
	tests := []struct {
		name string
		all  []*Snapshot
		v    Coming
		want Succession
	}{
		{"the first of its name", []*Snapshot{foreign}, plain, Succession{}},
		{"the newest", all, plain, Succession{Parent: second, Newest: second, Before: second}},
		{"a chosen parent", all, with(func(c *Coming) { c.Parent = foreign }), Succession{Parent: foreign, Newest: second, Before: second}},
		{"another host", all, with(func(c *Coming) { c.Host = "g" }), Succession{}},
		{"a chosen time between", all, with(func(c *Coming) { c.Dated, c.Time = true, now.Add(-2*day) }), Succession{Parent: second, Newest: second, Before: first}},
		{"a chosen time before all", all, with(func(c *Coming) { c.Dated, c.Time = true, now.Add(-9*day) }), Succession{Parent: second, Newest: second}},
		{"a chosen time in the future", all, with(func(c *Coming) { c.Dated, c.Time = true, now.Add(9*day) }), Succession{Parent: second, Newest: second, Before: second, Future: true}},
		{"one is a little ahead", append(all, ahead), plain, Succession{Parent: ahead, Newest: ahead, Before: second, Late: true}},
		{"one is far in the future", append(all, far), plain, Succession{Parent: second, Newest: second, Before: second, Passed: []*Snapshot{far}}},
		{"all are far in the future", []*Snapshot{far}, plain, Succession{Parent: far, Newest: far, Before: far, Late: true}},
		{
			"a clock that was reset", all, with(func(c *Coming) { c.Now, c.Time, c.Store = now.Add(-99*day), now.Add(-99*day), now }),
			Succession{Parent: second, Newest: second, Before: second, Late: true},
		},
		{"a clock that is ahead of the store", all, with(func(c *Coming) { c.Store = now.Add(-27 * time.Hour) }), Succession{Parent: second, Newest: second, Before: second, Apart: true}},
		{"a store that keeps local time", all, with(func(c *Coming) { c.Store = now.Add(-25 * time.Hour) }), Succession{Parent: second, Newest: second, Before: second}},
	}
	for _, test := range tests {
		got := Succeed(test.all, test.v)
		if got.Parent != test.want.Parent || got.Newest != test.want.Newest || got.Before != test.want.Before || len(got.Passed) != len(test.want.Passed) ||
			got.Late != test.want.Late || got.Future != test.want.Future || got.Apart != test.want.Apart {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
