package repo

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"platter/pack"
	"platter/repo/store"
)

func TestPace(t *testing.T) {
	// A pack took two seconds on two cores. waited and encoding are how long encoders waited for the store and encoded.
	type took struct{ waited, encoding time.Duration }
	const ms = time.Millisecond
	quick := took{0, 3000 * ms}         // a local disk, all data new
	nearly := took{125 * ms, 3000 * ms} // the store is slightly slower
	slow := took{1000 * ms, 1000 * ms}  // a slow store
	old := took{0, 200 * ms}            // most data is already stored, or reading is slow
	some := took{0, 400 * ms}           // more data is new, or it is compressed harder
	const middle, better = pack.CompressDefault, pack.CompressBetter
	for name, tt := range map[string]struct {
		packs []took
		want  []pack.Compression
	}{
		"a quick store":             {[]took{quick, quick, quick}, []pack.Compression{middle, middle, middle}},
		"a slow store":              {[]took{slow, slow, slow}, []pack.Compression{better, better, better}},
		"just right":                {[]took{nearly, nearly}, []pack.Compression{middle, middle}},
		"one that becomes slow":     {[]took{quick, quick, slow, slow}, []pack.Compression{middle, middle, better, better}},
		"one that becomes quick":    {[]took{slow, nearly, quick, quick}, []pack.Compression{better, better, middle, middle}},
		"little is new":             {[]took{old, some, old}, []pack.Compression{better, better, better}},
		"more than a little is new": {[]took{some, some}, []pack.Compression{middle, middle}},
		"new data come":             {[]took{old, quick, some}, []pack.Compression{better, middle, middle}},
	} {
		p, got := newPace(pack.CompressAuto, 2), []pack.Compression(nil)
		if p.compression() != middle {
			t.Errorf("%s: it starts with %v", name, p.compression())
		}
		for _, k := range tt.packs {
			p.pack(2*time.Second, k.waited, k.encoding)
			got = append(got, p.compression())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	for _, fixed := range []pack.Compression{pack.CompressOff, pack.CompressFastest, pack.CompressBetter} {
		p := newPace(fixed, 2)
		for _, k := range []took{slow, quick, old, quick} {
			if p.pack(2*time.Second, k.waited, k.encoding); p.compression() != fixed {
				t.Errorf("%v was asked for, %v is done", fixed, p.compression())
			}
		}
	}
}

// TestAutoIsNeverLarger checks that auto stores no more bytes than the default level, even if the store takes no time
// at all.
func TestAutoIsNeverLarger(t *testing.T) {
	chunks := proseChunks(256, 64<<10)
	settings := DefaultSettings
	settings.FrameSize, settings.PackSize = 256<<10, MinPackSize
	stored := map[pack.Compression]int64{}
	for _, how := range []pack.Compression{pack.CompressFastest, pack.CompressDefault, pack.CompressAuto} {
		r, err := Init(t.Context(), new(store.Mem), []byte("pw"), cheap, "", settings)
		if err != nil {
			t.Fatal(err)
		}
		r.SetCompression(how)
		r.SetWorkers(1) // so that frames hold the same chunks each time
		_, stats, err := save(t.Context(), r, chunks)
		if err != nil {
			t.Fatal(err)
		}
		stored[how] = stats.Stored.Load()
	}
	if stored[pack.CompressFastest] < stored[pack.CompressDefault]*102/100 {
		t.Fatalf("the data do not tell the levels apart: %v", stored)
	}
	if stored[pack.CompressAuto] > stored[pack.CompressDefault]+settings.FrameSize/16 { // packs are padded
		t.Errorf("auto stored %d bytes, the default level %d", stored[pack.CompressAuto], stored[pack.CompressDefault])
	}
}

// proseChunks returns n chunks of size bytes of sentences. Some of their words are much more frequent than others.
func proseChunks(n, size int) [][]byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	words := make([]string, 4000)
	for i := range words {
		for range 2 + rnd.IntN(8) {
			words[i] += string(rune('a' + rnd.IntN(26)))
		}
	}
	out := make([][]byte, n)
	for i := range out {
		var b bytes.Buffer
		for b.Len() < size {
			at := int(float64(len(words)-20) * rnd.Float64() * rnd.Float64() * rnd.Float64())
			fmt.Fprintf(&b, "%s ", words[at])
			if rnd.IntN(3) == 0 { // a phrase that repeats
				fmt.Fprintf(&b, "%s %s ", words[at+1], words[at+2])
			}
		}
		out[i] = b.Bytes()[:size]
	}
	return out
}
