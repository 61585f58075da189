package snapshot

import (
	"testing"

	"platter/snapshot/image"
)

// TestKeepsRaw checks that a source is kept raw only if its previous version was raw.
func TestKeepsRaw(t *testing.T) {
	of := func(kind string) *Snapshot { return &Snapshot{Source: Source{Kind: kind}} }
	for _, test := range []struct {
		name       string
		parent     *Snapshot
		kind, file string
		want       bool
	}{
		{"no version before", nil, "qcow2", image.KindRaw, false},
		{"raw before, an image now", of(image.KindRaw), "qcow2", image.KindRaw, true},
		{"raw before and now", of(image.KindRaw), image.KindRaw, image.KindRaw, false},
		{"an image before and now", of("qcow2"), "qcow2", image.KindRaw, false},
		{"an image before, another now", of("qcow2"), "vmdk", image.KindRaw, false},
		{"a device before, an image now", of(image.KindDevice), "qcow2", image.KindRaw, false},
		{"raw before, a device now", of(image.KindRaw), image.KindDevice, image.KindDevice, false},
	} {
		if got := KeepsRaw(test.parent, test.kind, test.file); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
