package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/chunk"
	"platter/pack"
)

func wantDamaged(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, pack.ErrDamaged) || errors.Is(err, pack.ErrNewer) {
		t.Errorf("%s: %v, want ErrDamaged", what, err)
	}
}

// randomPieces are the pieces of a region, and how long it is.
func randomPieces(r *rand.Rand, n int) (pieces []piece, length int64) {
	for range n {
		p := piece{kind: pieceKind(r.IntN(3)), len: 1 + uint32(r.IntN(1<<20))}
		if r.IntN(10) == 0 {
			p.len = 1<<30 - 1
		}
		if p.kind == dataPiece {
			binary.LittleEndian.PutUint64(p.id[:], r.Uint64())
		}
		pieces, length = append(pieces, p), length+int64(p.len)
	}
	return pieces, length
}

func TestPageIsCanonical(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		want, length := randomPieces(r, 1+r.IntN(100))
		p := appendPage([]byte("x"), want)[1:]
		got, err := parsePage(p, length)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d: %v, or other pieces", seed, err)
		}
		for _, other := range []int64{0, 1, -1, length - 1, length + 1, RegionSize, 1 << 62} {
			if _, err := parsePage(p, other); other != length {
				wantDamaged(t, "a region of another length", err)
			}
		}
		for n := range p {
			_, err := parsePage(p[:n], length)
			wantDamaged(t, "cut short", err)
		}
		_, err = parsePage(append(slices.Clone(p), 0), length)
		wantDamaged(t, "a byte behind", err)
		_, err = parseNode(p, 1)
		wantDamaged(t, "a page taken for a node", err)
	}
}

func TestPageDamage(t *testing.T) {
	entry := func(kind pieceKind, n uint32) []byte {
		return binary.LittleEndian.AppendUint32([]byte{0, 1, 0, 0, 0}, uint32(kind)<<30|n)
	}
	for name, p := range map[string][]byte{
		"nothing": nil, "a level": {0}, "another level": append([]byte{1}, entry(zeroPiece, 5)[1:]...),
		"many pieces": {0, 255, 255, 255, 255}, "kind 3": entry(3, 5), "piece of nothing": entry(zeroPiece, 0), "data without an id": entry(dataPiece, 5),
		"zeros with an id": append(entry(zeroPiece, 5), make([]byte, chunk.IDSize)...), "no pieces": {0, 0, 0, 0, 0},
	} {
		_, err := parsePage(p, 5)
		wantDamaged(t, name, err)
	}
	if _, err := parsePage(entry(badPiece, 5), 5); err != nil {
		t.Error(err)
	}
}

func TestNodeRoundTrip(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 2))
		want := new(node)
		for range 1 + r.IntN(10) {
			want[r.IntN(1+int(seed)*5)][r.IntN(32)] = 1 + byte(r.IntN(255))
		}
		level := 1 + r.IntN(5)
		p := want.appendTo([]byte("x"), level)[1:]
		got, err := parseNode(p, level)
		if err != nil || *got != *want {
			t.Fatalf("seed %d: %v, or another node", seed, err)
		}
		for _, other := range []int{0, level - 1, level + 1, level + 256, -1} {
			_, err := parseNode(p, other)
			wantDamaged(t, "a node of another level", err)
		}
		for n := range p {
			if (n-1)%chunk.IDSize != 0 || n <= 1 {
				_, err := parseNode(p[:n], level)
				wantDamaged(t, "cut short", err)
			}
		}
		_, err = parseNode(append(slices.Clone(p), make([]byte, chunk.IDSize)...), level)
		wantDamaged(t, "zeros at its end", err)
		_, err = parseNode(append(slices.Clone(p), bytes.Repeat([]byte{1}, fanOut*chunk.IDSize)...), level)
		wantDamaged(t, "too many children", err)
	}
	_, err := parseNode([]byte{1}, 1)
	wantDamaged(t, "no children", err)
}

func FuzzPage(f *testing.F) {
	for n := range 6 {
		pieces, length := randomPieces(rand.New(rand.NewPCG(uint64(n), 3)), n)
		f.Add(appendPage(nil, pieces), length)
		f.Add(append(appendPage(nil, pieces), 0), length)
	}
	f.Add([]byte{0, 255, 255, 255, 255}, int64(RegionSize))
	f.Fuzz(func(t *testing.T, p []byte, length int64) {
		pieces, err := parsePage(p, length)
		if err != nil {
			wantDamaged(t, "a bad page", err)
			return
		}
		var total int64
		for _, q := range pieces {
			total += int64(q.len)
		}
		if again := appendPage(nil, pieces); !bytes.Equal(again, p) || total != length {
			t.Fatalf("%x of %d bytes parses, has %d bytes, and is written as %x", p, length, total, again)
		}
	})
}

func FuzzNode(f *testing.F) {
	full, one := new(node), new(node)
	for i := range full {
		full[i][0] = 1
	}
	one[3][31] = 7
	f.Add(one.appendTo(nil, 1), 1)
	f.Add(one.appendTo(nil, 2), 2)
	f.Add(full.appendTo(nil, 5), 5)
	f.Add(append(one.appendTo(nil, 1), make([]byte, 32)...), 1)
	f.Add([]byte{0}, 0)
	f.Fuzz(func(t *testing.T, p []byte, level int) {
		n, err := parseNode(p, level)
		if err != nil {
			wantDamaged(t, "a bad node", err)
			return
		}
		if again := n.appendTo(nil, level); !bytes.Equal(again, p) {
			t.Fatalf("%x parses and is written as %x", p, again)
		}
	})
}
