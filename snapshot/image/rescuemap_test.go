package image

import (
	"bytes"
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

func mustMap(t testing.TB, text string) *RescueMap {
	t.Helper()
	m, err := ReadRescueMap(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const sampleMap = `# Mapfile. Created by GNU ddrescue version 1.27
# Command line: ddrescue /dev/sdb sdb.img sdb.map
0x00110000     ?               1
#      pos        size  status
0x00000000  0x00010000  +
0x00010000  0x00000200  -
0x00010200  1024        /   # a comment
0x00010600  0x0000FA00  +
0200000     0x00010000  *
0x00030000  0x000D0001  ?
`

func TestReadRescueMap(t *testing.T) {
	// 0200000 is octal for 0x10000: the block begins before the previous one ends.
	if _, err := ReadRescueMap(strings.NewReader(sampleMap)); err == nil || !strings.Contains(err.Error(), "line 9: ") {
		t.Error(err)
	}
	m := mustMap(t, strings.Replace(sampleMap, "0200000", "0400000", 1))
	if m.Size() != 1<<20+1 {
		t.Error(m.Size())
	}
	for _, test := range []struct {
		off, n int64
		want   []Extent
	}{
		{0, 65536, nil},
		{65535, 2, []Extent{{Off: 65536, Len: 1}}},
		{0, 1 << 17, []Extent{{Off: 65536, Len: 1536}}},
		{67071, 1 << 30, []Extent{{Off: 67071, Len: 1}, {Off: 1 << 17, Len: 1<<30 + 67071 - 1<<17}}},
		{1 << 40, 5, []Extent{{Off: 1 << 40, Len: 5}}},
		{0, 0, nil},
		{-5, 3, nil},
	} {
		if got := slices.Collect(m.Within(test.off, test.n)); !slices.Equal(got, test.want) {
			t.Errorf("%d bytes at %d: %v, want %v", test.n, test.off, got, test.want)
		}
	}
	for _, text := range []string{
		"", "# nothing", "0 ? 1", "0 ?", "hello", "0 +\n0 1", "0 +\n0 1 x", "0 +\n0 0 +", "0 +\n0 1_0 +", "0 +\n-1 5 +",
		"0 +\n0 0x8000000000000000 +", "0 +\n5 0x7fffffffffffffff +", "0 +\n0 5 +\n4 5 +", "0 + 1 2\n0 5 +", "0 5 +\n0 5 +",
	} {
		if _, err := ReadRescueMap(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as a map", text)
		}
	}
	if _, err := ReadRescueMap(strings.NewReader("0 +\n" + strings.Repeat("0", maxRescueLine+1))); err == nil {
		t.Error("a line may have any length")
	}
	gaps := mustMap(t, "0 +\n512 512 +\n2048 512 +")
	if got := slices.Collect(gaps.Within(0, 4096)); !slices.Equal(got, []Extent{{Len: 512}, {Off: 1024, Len: 1024}, {Off: 2560, Len: 1536}}) {
		t.Error(got)
	}
}

// TestPatientSpares checks that excluded ranges are never read, and that an image may be shorter than its map.
func TestPatientSpares(t *testing.T) {
	d := newFailing(64 << 10)
	clear(d.Data[8192:16384])
	d.Holes = true
	d.hurt(9000, 9001)
	d.hurt(64<<10-1, 64<<10)
	p := mustPatient(t, d, mustMap(t, "0 +\n0 9000 +\n9000 1 -\n9001 56000 +\n65001 1000 ?"), RetryOptions{})
	want := []Extent{{Len: 8192}, {Off: 8192, Len: 512, Zero: true}, {Off: 8704, Len: 512}, {Off: 9216, Len: 7168, Zero: true}, {Off: 16384, Len: 66001 - 16384}}
	var got []Extent
	for e, err := range p.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if !slices.Equal(got, want) || p.Size() != 66001 {
		t.Errorf("%d bytes: %v", p.Size(), got)
	}
	buf := make([]byte, 64<<10)
	if n, err := p.ReadAt(buf, 0); n != 8704 || !errors.Is(err, ErrExcluded) || d.failed > 0 {
		t.Errorf("%d bytes, %v, %d reads failed", n, err, d.failed)
	}
	if n, err := p.ReadAt(buf[:1000], 9216); n != 1000 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := NewRetrying(d, mustMap(t, "0 +\n0 65536 +\n65536 1 -\n65537 4096 +"), RetryOptions{}); err == nil {
		t.Error("a map of a longer disk fits")
	}
}

func lostOf(all []Extent) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestRescueMapRoundTrip writes maps and reads them back.
func TestRescueMapRoundTrip(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var lost []Extent
		size := rnd.Int64N(1 << rnd.IntN(50))
		for at := rnd.Int64N(1<<20) &^ 511; at < size; at += (1 + rnd.Int64N(1<<rnd.IntN(40))) * 512 {
			e := Extent{Off: at, Len: min(rnd.Int64N(5)*512+512, size-at)}
			lost, at = append(lost, e), at+e.Len
		}
		var text bytes.Buffer
		if err := WriteRescueMap(&text, "1.0", size, lostOf(lost)); err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			continue
		}
		m := mustMap(t, text.String())
		if got := slices.Collect(m.Within(0, size)); m.Size() != size || !slices.Equal(got, lost) {
			t.Errorf("seed %d: %d bytes without %v, want %d without %v\n%s", seed, m.Size(), got, size, lost, text.String())
		}
	}
	broken := errors.New("broken")
	err := WriteRescueMap(new(bytes.Buffer), "", 5, func(yield func(Extent, error) bool) { yield(Extent{}, broken) })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestRescueMapOracle compares with ddrescuelog: it finds the same bad sectors in our maps.
func TestRescueMapOracle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "map")
	var text bytes.Buffer
	lost := []Extent{{Off: 0, Len: 512}, {Off: 2048, Len: 1024}, {Off: 1 << 40, Len: 512}}
	if err := WriteRescueMap(&text, "1.0", 1<<40+512, lostOf(lost)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := oracle.Run(t, "ddrescuelog", "--list-blocks=-", path); out != "0\n4\n5\n2147483648" {
		t.Error(out)
	}
}

func FuzzRescueMap(f *testing.F) {
	f.Add([]byte(strings.Replace(sampleMap, "0200000", "0400000", 1)))
	f.Add([]byte("0 +\n0 0x7fffffffffffffff -\n"))
	f.Add([]byte("0 +\n9223372036854775806 1 ?\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ReadRescueMap(bytes.NewReader(text))
		if err != nil {
			return
		}
		if m.Size() <= 0 {
			t.Errorf("a map of %d bytes", m.Size())
		}
		at := int64(-1)
		for e := range m.Within(0, math.MaxInt64) {
			if e.Len <= 0 || e.Off <= at || e.Off%rescueGrain != 0 && e.Off != m.Size() {
				t.Errorf("%v is after %d", e, at)
			}
			at = e.Off + e.Len
		}
		if at != math.MaxInt64 {
			t.Errorf("what is after %d was read", at)
		}
	})
}
