package repo

import (
	"slices"
	"testing"
	"time"

	"platter/pack"
)

func TestPace(t *testing.T) {
	const fast, even, slow = 0, time.Second / 16, time.Second // waited, of packs that took two seconds
	const fastest, middle, better = pack.CompressFastest, pack.CompressDefault, pack.CompressBetter
	for name, tt := range map[string]struct {
		waited []time.Duration
		want   []pack.Compression
	}{
		"a fast store":           {[]time.Duration{fast, fast, fast}, []pack.Compression{fastest, fastest, fastest}},
		"a slow store":           {[]time.Duration{slow, slow, slow}, []pack.Compression{better, better, better}},
		"just right":             {[]time.Duration{even * 2, even * 2}, []pack.Compression{middle, middle}},
		"one that becomes slow":  {[]time.Duration{fast, slow, slow, slow}, []pack.Compression{fastest, middle, better, better}},
		"one that becomes quick": {[]time.Duration{slow, fast, fast}, []pack.Compression{better, middle, fastest}},
	} {
		p, got := newPace(pack.CompressAuto), []pack.Compression(nil)
		if p.compression() != middle {
			t.Errorf("%s: it starts with %v", name, p.compression())
		}
		for _, waited := range tt.waited {
			p.pack(2*time.Second, waited)
			got = append(got, p.compression())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	p := newPace(pack.CompressOff)
	for _, waited := range []time.Duration{slow, fast, fast} {
		if p.pack(2*time.Second, waited); p.compression() != pack.CompressOff {
			t.Errorf("it was told off and does %v", p.compression())
		}
	}
}
