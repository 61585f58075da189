package chunk

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

type piece struct {
	len  int
	zero bool
}

func testPoly(t testing.TB) Poly {
	poly, err := DerivePoly(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	return poly
}

func newCutter(t testing.TB, params Params) *Cutter {
	c, err := NewCutter(testPoly(t), params)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cutAll cuts a region through a window of at least window bytes, and merges adjacent zero pieces.
func cutAll(c *Cutter, region []byte, window int) []piece {
	c.Reset()
	var out []piece
	for off := 0; off < len(region); {
		end := min(off+max(window, c.Need()), len(region))
		end = off + (end-off)&^(Block-1)
		if len(region)-off <= max(window, c.Need()) {
			end = len(region)
		}
		n, zero := c.Next(region[off:end], end == len(region))
		if last := len(out) - 1; zero && last >= 0 && out[last].zero {
			out[last].len += n
		} else {
			out = append(out, piece{n, zero})
		}
		off += n
	}
	return out
}

// wantZeros finds a region's zero runs by brute force, block by block.
func wantZeros(region []byte) (runs [][2]int) {
	start := -1
	for i := 0; i <= len(region); i += Block {
		if i < len(region) && IsZero(region[i:min(i+Block, len(region))]) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 && (min(i, len(region))-start >= MinZeroRun || start == 0 && i >= len(region)) {
			runs = append(runs, [2]int{start, min(i, len(region))})
		}
		start = -1
	}
	if start >= 0 && (len(region)-start >= MinZeroRun || start == 0) {
		runs = append(runs, [2]int{start, len(region)})
	}
	return runs
}

// randomRegion mixes noise, text and zero runs whose lengths are close to the bounds in the rules.
func randomRegion(r *rand.Rand, size int) []byte {
	region := make([]byte, size)
	for off := 0; off < size; {
		n := r.IntN(700<<10) + 1
		if r.IntN(2) == 0 {
			n = MinZeroRun + (r.IntN(7)-3)*Block + r.IntN(3) - 1
		}
		n = min(n, size-off)
		switch r.IntN(3) {
		case 0:
			for i := range n {
				region[off+i] = byte(r.Uint32())
			}
		case 1:
			for i := range n {
				region[off+i] = "platter"[i%7]
			}
		}
		off += n
	}
	return region
}

func TestCutterPieces(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		region := randomRegion(r, r.IntN(6<<20)+1)
		params := ParamsFor(MinAvg << r.IntN(5))
		c := newCutter(t, params)
		pieces := cutAll(c, region, len(region))

		var zeros [][2]int
		off := 0
		for i, p := range pieces {
			switch {
			case p.len <= 0:
				t.Fatalf("seed %d: piece %d at %d has %d bytes", seed, i, off, p.len)
			case p.zero:
				zeros = append(zeros, [2]int{off, off + p.len})
			case int64(p.len) > params.Max:
				t.Fatalf("seed %d: chunk of %d bytes at %d", seed, p.len, off)
			case int64(p.len) < params.Min && i+1 < len(pieces) && !pieces[i+1].zero:
				t.Fatalf("seed %d: chunk of %d bytes at %d before another", seed, p.len, off)
			}
			off += p.len
			if off%Block != 0 && off != len(region) {
				t.Fatalf("seed %d: cut at %d", seed, off)
			}
		}
		if off != len(region) {
			t.Fatalf("seed %d: pieces end at %d of %d", seed, off, len(region))
		}
		if want := wantZeros(region); !equal(zeros, want) {
			t.Fatalf("seed %d: zero runs %v, want %v", seed, zeros, want)
		}
		for _, window := range []int{0, c.Need() + Block, 1 << 20} {
			if again := cutAll(c, region, window); !equal(again, pieces) {
				t.Fatalf("seed %d: pieces differ through a window of %d bytes", seed, window)
			}
		}
	}
}

// TestCutterResyncs checks what deduplication depends on: after an insertion of blocks, the cuts are the same again.
func TestCutterResyncs(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	body := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{2}).Read(body)
	c := newCutter(t, ParamsFor(64<<10))
	ends := func(region []byte) map[int]bool {
		m, off := map[int]bool{}, len(region)
		pieces := cutAll(c, region, 1<<20)
		for i := len(pieces) - 1; i >= 0; i-- {
			m[len(region)-off] = true // counted from the end, which both have in common
			off -= pieces[i].len
		}
		return m
	}
	before := ends(body)
	at := r.IntN(len(body)/8) &^ (Block - 1)
	after := ends(bytes.Join([][]byte{body[:at], bytes.Repeat([]byte("new"), Block), body[at:]}, nil))
	shared := 0
	for end := range before {
		if after[end] {
			shared++
		}
	}
	if shared*4 < len(before)*3 {
		t.Fatalf("%d of %d cuts remain after an insertion at %d", shared, len(before), at)
	}
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestParamsValidate(t *testing.T) {
	for _, avg := range []int64{MinAvg, 64 << 10, MaxAvg} {
		if err := ParamsFor(avg).Validate(); err != nil {
			t.Errorf("average %d is refused: %v", avg, err)
		}
	}
	for _, p := range []Params{
		{},
		{Min: 4096, Avg: 65537, Max: 1 << 20},
		{Min: 0, Avg: 65536, Max: 1 << 20},
		{Min: 32768, Avg: 65536, Max: 1 << 40},
		{Min: 32768, Avg: 65536, Max: 32768},
		{Min: 33000, Avg: 65536, Max: 1 << 19},
		{Min: 131072, Avg: 65536, Max: 1 << 19},
		{Min: -4096, Avg: 65536, Max: 1 << 19},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}

func TestParseID(t *testing.T) {
	id := NewNamer([32]byte{3}).ID([]byte("x"))
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Fatalf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "ab", id.String()[1:], id.String() + "0", string(bytes.ToUpper([]byte(id.String()))), "zz" + id.String()[2:]} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestNamerKeysDiffer(t *testing.T) {
	a, b := NewNamer([32]byte{1}), NewNamer([32]byte{2})
	first := a.ID([]byte("x"))
	if first == b.ID([]byte("x")) || first == a.ID([]byte("y")) || first != a.ID([]byte("x")) {
		t.Fatal("want one ID for the same key and content, and different IDs otherwise")
	}
}
