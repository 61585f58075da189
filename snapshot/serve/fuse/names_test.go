package fuse

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestSafeNames(t *testing.T) {
	long := strings.Repeat("ü", 200) // 400 bytes
	for _, c := range []struct{ names, want []string }{
		{nil, []string{}},
		{[]string{"sda", "my disk", "größe"}, []string{"sda", "my disk", "größe"}},
		{[]string{"nas/sda", "/dev/sdb", "a\x00b\nc\x7f\u0085d"}, []string{"nas_sda", "_dev_sdb", "a_b_c__d"}},
		{[]string{".", "..", ".hidden", "", "/"}, []string{"_~cdb4ee2a", "_.", "_hidden", "_~e3b0c442", "_~8a5edab2"}},
		{[]string{"a/b", "a_b", "c"}, []string{"a_b~c14cddc0", "a_b~648fa9b3", "c"}},
		{[]string{"a_b", "x", "a/b"}, []string{"a_b~648fa9b3", "x", "a_b~c14cddc0"}}, // the order does not matter
		{[]string{"a_b~c14cddc0"}, []string{"a_b~c14cddc0~0450b183"}},
		{[]string{"\xff\xfe"}, []string{"__"}},
		{[]string{long}, []string{strings.Repeat("ü", 123) + "~cb26b0de"}},
	} {
		if got := SafeNames(c.names); !slices.Equal(got, c.want) {
			t.Errorf("SafeNames(%q) =\n%q, want\n%q", c.names, got, c.want)
		}
	}
}

func FuzzSafeNames(f *testing.F) {
	f.Add("a/b", "a_b", "a_b~c14cddc0")
	f.Add("", ".", "..")
	f.Add("same", "same", "same")
	f.Add(strings.Repeat("é", 300), strings.Repeat("é", 301), "\x00")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		names := []string{a, b, c}
		safe := SafeNames(names)
		for i, name := range safe {
			if name == "" || len(name) > maxName || strings.ContainsAny(name, "/\x00") || name[0] == '.' || !utf8.ValidString(name) {
				t.Errorf("%q became %q", names[i], name)
			}
		}
		if safe[0] == safe[1] || safe[0] == safe[2] || safe[1] == safe[2] {
			t.Errorf("SafeNames(%q) = %q: two are the same", names, safe)
		}
		slices.Reverse(names)
		reversed := SafeNames(names)
		slices.Reverse(reversed)
		if a != b && b != c && a != c && !slices.Equal(reversed, safe) {
			t.Errorf("in another order %q became %q, and not %q", names, reversed, safe)
		}
	})
}

func TestVersionNames(t *testing.T) {
	noon := time.Date(2026, 3, 1, 13, 0, 0, 5, time.FixedZone("CET", 3600))
	versions := []Version{
		{ID: "aaaabbbbcccc", Time: noon.Add(-time.Hour)},
		{ID: "bbbbccccdddd", Time: noon},
		{ID: "ccccddddeeee", Time: noon.Add(time.Second / 2)},
		{ID: "d", Time: noon.Add(time.Second)},
		{ID: "e", Time: noon.Add(time.Second)},
		{ID: "e", Time: noon.Add(time.Second)}, // a fault of the catalog
	}
	want := []string{
		"2026-03-01T11-00-00Z", "2026-03-01T12-00-00Z-bbbbcccc", "2026-03-01T12-00-00Z-ccccdddd", "2026-03-01T12-00-01Z-d",
		"2026-03-01T12-00-01Z-e~", "2026-03-01T12-00-01Z-e~",
	}
	got := versionNames(versions)
	for i := range want {
		if fine := got[i] == want[i] || strings.HasSuffix(want[i], "~") && strings.HasPrefix(got[i], want[i]); !fine {
			t.Errorf("version %d is called %q, not %q", i, got[i], want[i])
		}
	}
	if !slices.IsSorted(got[:5]) || got[4] == got[5] {
		t.Errorf("names out of order, or the same: %q", got)
	}
}
