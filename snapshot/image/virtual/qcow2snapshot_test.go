package virtual

import (
	"strings"
	"testing"
)

// TestQcow2HostileSnapshots checks that an invalid table of snapshots is an error, and that it is only read if a
// snapshot is requested.
func TestQcow2HostileSnapshots(t *testing.T) {
	entry := func(l1 uint64, size uint64, id, name string) []byte {
		b := make([]byte, qcowSnapshotLen+16)
		put64(0, l1)(b)
		put32(8, 64)(b)
		put32(12, uint32(len(id))<<16|uint32(len(name)))(b)
		put32(36, 16)(b)
		put64(48, size)(b)
		b = append(append(b, id...), name...)
		return append(b, make([]byte, -len(b)&7)...)
	}
	good := entry(512, 1024, "1", "one")
	many := make([]byte, 0, 64*30)
	for i := range 30 {
		many = append(many, entry(512, 512, string(rune('a'+i)), "s")...)
	}
	for name, tt := range map[string]struct {
		table []byte
		count uint32
		ask   string
		want  string // empty if it opens
	}{
		"good":             {good, 1, "one", ""},
		"by number":        {good, 1, "1", ""},
		"none":             {nil, 0, "one", "it has none"},
		"unknown":          {good, 1, "two", `it has "one" (number "1")`},
		"many":             {many, 30, "x y", "and 10 more"},
		"not one of many":  {many, 30, "s", "30 snapshots"},
		"more than can be": {good, maxQcowSnapshots + 1, "one", "65537"},
		"truncated":        {good[:len(good)-6], 1, "one", "truncated"},
		"fewer than said":  {good, 2, "one", "snapshot 2 of 2"},
		"long extra data":  {put32(36, 1<<31)(entry(512, 512, "1", "one")), 1, "one", "2147483648"},
		"L1 nowhere":       {entry(1<<40, 512, "1", "one"), 1, "one", "L1 table"},
		"L1 negative":      {entry(1<<63, 512, "1", "one"), 1, "one", "L1 table"},
		"L1 too short":     {entry(512, 1<<30, "1", "one"), 1, "one", "64 entries"},
		"negative size":    {entry(512, 1<<63, "1", "one"), 1, "one", "9223372036854775808"},
	} {
		data := append(put32(60, tt.count)(put64(64, 2048)(qcowFile{size: 512}.bytes())), tt.table...)
		d, _, err := openMem(data, Options{Snapshot: tt.ask})
		if tt.want == "" && (err != nil || d.Size() != 1024) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want an error that says %q", name, err, tt.want)
		}
		if _, _, err := openMem(data, Options{}); err != nil {
			t.Errorf("%s, the current disk: %v", name, err)
		}
	}
}
