package snapshot

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"platter/chunk"
	"platter/pack"
)

func snapshotJSON(t testing.TB) []byte {
	s := &Snapshot{Version: 1, Name: "disk", Host: "host", Tags: []string{"a"}, Size: 1 << 40, Root: chunk.ID{1}, Parent: &pack.FileID{2}, Source: Source{Kind: "raw", Path: "/dev/sda"}}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDecodeSnapshot(t *testing.T) {
	good := string(snapshotJSON(t))
	for _, test := range []struct {
		name, json string
		want       error
	}{
		{"good", good, nil},
		{"padded", good + strings.Repeat(" ", 500), nil},
		{"with more fields", strings.Replace(good, "{", `{"later":[1,2],`, 1), nil},
		{"newer", strings.Replace(good, `"version":1`, `"version":2`, 1), pack.ErrNewer},
		{"version 0", strings.Replace(good, `"version":1`, `"version":0`, 1), pack.ErrDamaged},
		{"negative version", strings.Replace(good, `"version":1`, `"version":-1`, 1), pack.ErrDamaged},
		{"negative size", strings.Replace(good, `"size":`, `"size":-`, 1), pack.ErrDamaged},
		{"huge size", strings.Replace(good, `"size":`, `"size":99999999999`, 1), pack.ErrDamaged},
		{"short root", strings.Replace(good, `"root":"01`, `"root":"`, 1), pack.ErrDamaged},
		{"root in capitals", strings.Replace(good, `"root":"01`, `"root":"AB`, 1), pack.ErrDamaged},
		{"cut short", good[:len(good)-1], pack.ErrDamaged},
		{"two", good + good, pack.ErrDamaged},
		{"nothing", "", pack.ErrDamaged},
		{"null", "null", pack.ErrDamaged},
		{"a list", "[]", pack.ErrDamaged},
		{"empty", "{}", pack.ErrDamaged},
	} {
		if test.json == good && test.name != "good" {
			t.Fatalf("%s: the test changes nothing", test.name)
		}
		s, err := decode(pack.FileID{9}, []byte(test.json))
		if !errors.Is(err, test.want) || (err == nil) != (s != nil) || s != nil && (s.ID != pack.FileID{9} || s.Size != 1<<40 || s.Name != "disk") {
			t.Errorf("%s: %+v, %v; want %v", test.name, s, err, test.want)
		}
	}
}

func FuzzSnapshotJSON(f *testing.F) {
	f.Add(snapshotJSON(f))
	f.Add(append(snapshotJSON(f), "   "...))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"size":0,"root":"` + strings.Repeat("0", 64) + `","time":"2026-11-21T12:00:00+01:00","tags":[null],"parent":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(pack.FileID{9}, data)
		if err != nil {
			if errors.Is(err, pack.ErrDamaged) == errors.Is(err, pack.ErrNewer) {
				t.Fatalf("%v is neither damaged nor newer, or both", err)
			}
			return
		}
		if s.Size < 0 || s.Version != version || (s.ID != pack.FileID{9}) {
			t.Fatalf("%+v", s)
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		same, err := decode(pack.FileID{9}, again)
		if err != nil {
			t.Fatal(err)
		}
		if !same.Time.Equal(s.Time) {
			t.Fatalf("%v becomes %v", s.Time, same.Time)
		}
		same.Time = s.Time
		if len(s.Tags) == 0 {
			s.Tags, same.Tags = nil, nil
		}
		if !reflect.DeepEqual(same, s) {
			t.Fatalf("%+v becomes %+v", s, same)
		}
	})
}
