package snapshot

import (
	"errors"
	"strings"
	"testing"
	"time"

	"platter/pack"
)

func testSnapshots() []*Snapshot {
	id := func(hex string) pack.FileID {
		id, err := pack.ParseFileID(hex + strings.Repeat("0", 64-len(hex)))
		if err != nil {
			panic(err)
		}
		return id
	}
	return []*Snapshot{ // oldest first
		{ID: id("abcd1"), Name: "web", Host: "a", Tags: []string{"x", "y"}},
		{ID: id("abcd2"), Name: "db", Host: "b"},
		{ID: id("0123456789"), Name: "web", Host: "a", Tags: []string{"y"}},
		{ID: id("cafe1"), Name: "beef", Host: "a"},
		{ID: id("beef1"), Name: "cafe", Host: "b", Tags: []string{"x"}},
		{ID: id("99999"), Name: "web", Host: "b"},
		{ID: id("dead1"), Name: "feed", Host: "c"},
	}
}

func TestFind(t *testing.T) {
	all := testSnapshots()
	none, several := ErrNotFound, ErrAmbiguous
	for _, test := range []struct {
		spec string
		want int // -1: err
		err  error
	}{
		{"latest", 6, nil},
		{"latest~0", 6, nil},
		{"latest~1", 5, nil},
		{"latest~6", 0, nil},
		{"latest~7", -1, none},
		{"web", 5, nil},
		{"web~0", 5, nil},
		{"web~1", 2, nil},
		{"web~2", 0, nil},
		{"web~3", -1, none},
		{"web~2147483647", -1, none},
		{"db", 1, nil},
		{"db~1", -1, none},
		{"we", -1, none},
		{"webb", -1, none},
		{"WEB", -1, none},
		{"Latest", -1, none},
		{"web~", -1, none},
		{"web~x", -1, none},
		{"web~-1", -1, none},
		{"web~+1", -1, none},
		{"web~1~1", -1, none},
		{"web~99999999999", -1, none},
		{"~", -1, none},
		{"~1", -1, none},
		{"", -1, none},
		{"0123", 2, nil},
		{"012", -1, none},
		{"01234567890", 2, nil},
		{"0124", -1, none},
		{"9999", 5, nil},
		{"99999~0", -1, none},
		{"abcd", -1, several},
		{"ABCD", -1, several},
		{"abcd1", 0, nil},
		{"ABCD2", 1, nil},
		{"aBcD2", 1, nil},
		{"dead", 6, nil},
		{"feed", 6, nil},
		{"cafe", -1, several},
		{"cafe~0", 4, nil},
		{"cafe1", 3, nil},
		{"beef", -1, several},
		{"beef~0", 3, nil},
		{"beef~1", -1, none},
		{all[0].ID.String(), 0, nil},
		{strings.ToUpper(all[0].ID.String()), 0, nil},
		{all[0].ID.String() + "0", -1, none},
	} {
		got, _, err := Find(all, test.spec, time.Now())
		if test.want < 0 {
			if got != nil || !errors.Is(err, test.err) {
				t.Errorf("%q: %v, %v; want %v", test.spec, got, err, test.err)
			}
		} else if err != nil || got != all[test.want] {
			t.Errorf("%q: %v, %v; want %v", test.spec, got, err, all[test.want].ID)
		}
	}
	for _, spec := range []string{"latest", "latest~1", "web", "0123", ""} {
		if got, _, err := Find(nil, spec, time.Now()); got != nil || !errors.Is(err, ErrNotFound) {
			t.Errorf("%q among none: %v, %v", spec, got, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"web", "Web server", "ü", "名前", "a/b", `c\d`, "sda.img", "-x", "latest2", strings.Repeat("n", 255), "beef"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if got := CleanName(name); got != name {
			t.Errorf("%q is cleaned to %q", name, got)
		}
	}
	for _, name := range []string{
		"", "latest", " a", "a ", "\ta", "a\tb", "a\nb", "a\x00", "a~1", "~", "a:b", ":", "a\u200bb", "a\u00a0b", "\x1b[31m",
		"\u202egnp", strings.Repeat("n", 256), strings.Repeat("ü", 128),
	} {
		if CheckName(name) == nil {
			t.Errorf("%q passes", name)
		}
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"": "disk", "  ": "disk", "latest": "disk", " latest ": "disk", strings.Repeat("n", 256): "disk",
		" web ": "web", "a~1": "a-1", "host:/dev/sda": "host-/dev/sda", "a\x00b\n": "a-b-", "c:\\disk.img": "c-\\disk.img", "~": "-",
		"a\u202eb": "a-b",
	} {
		if got := CleanName(in); got != want {
			t.Errorf("%q is cleaned to %q, want %q", in, got, want)
		}
	}
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"", "latest", "a~b:c", "\xff", " \u00a0x", strings.Repeat("ü~", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean := CleanName(s)
		if err := CheckName(clean); err != nil {
			t.Fatalf("%q is cleaned to %q: %v", s, clean, err)
		}
		if again := CleanName(clean); again != clean {
			t.Fatalf("%q is cleaned to %q, and that to %q", s, clean, again)
		}
		named := &Snapshot{Name: clean}
		if got, _, err := Find([]*Snapshot{named}, clean+"~0", time.Now()); got != named {
			t.Fatalf("%q is not found by it: %v", clean, err)
		}
	})
}

func TestFilter(t *testing.T) {
	for _, test := range []struct {
		filter Filter
		want   string // what matches
	}{
		{Filter{}, "0123456"},
		{Filter{Name: "web"}, "025"},
		{Filter{Host: "a"}, "023"},
		{Filter{Name: "web", Host: "a"}, "02"},
		{Filter{Tags: []string{"x"}}, "04"},
		{Filter{Tags: []string{"x", "y"}}, "0"},
		{Filter{Tags: []string{"y", "x"}}, "0"},
		{Filter{Tags: []string{"z"}}, ""},
		{Filter{Tags: []string{"y"}, Host: "b"}, ""},
		{Filter{Name: "we"}, ""},
		{Filter{Name: "Web"}, ""},
	} {
		got := ""
		for i, s := range testSnapshots() {
			if test.filter.Match(s) {
				got += string(rune('0' + i))
			}
		}
		if got != test.want {
			t.Errorf("%+v lets %q pass, want %q", test.filter, got, test.want)
		}
	}
}
