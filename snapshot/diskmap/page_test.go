package diskmap

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

// randomPieces returns the pieces of a region, and its length.
func randomPieces(r *rand.Rand, n int) (pieces []Piece, length int64) {
	for range n {
		p := Piece{Kind: PieceKind(r.IntN(3)), Len: 1 + uint32(r.IntN(1<<20))}
		if r.IntN(10) == 0 {
			p.Len = 1<<30 - 1
		}
		if p.Kind == Data {
			binary.LittleEndian.PutUint64(p.ID[:], r.Uint64())
		}
		pieces, length = append(pieces, p), length+int64(p.Len)
	}
	return pieces, length
}

func TestPageIsCanonical(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		want, length := randomPieces(r, 1+r.IntN(100))
		p := AppendPage([]byte("x"), want)[1:]
		got, err := ParsePage(p, length)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d: %v, or other pieces", seed, err)
		}
		for _, other := range []int64{0, 1, -1, length - 1, length + 1, RegionSize, 1 << 62} {
			if _, err := ParsePage(p, other); other != length {
				wantDamaged(t, "a region of another length", err)
			}
		}
		for n := range p {
			_, err := ParsePage(p[:n], length)
			wantDamaged(t, "cut short", err)
		}
		_, err = ParsePage(append(slices.Clone(p), 0), length)
		wantDamaged(t, "a byte behind", err)
		_, err = ParseNode(p, 1)
		wantDamaged(t, "a page taken for a node", err)
	}
}

func TestPageDamage(t *testing.T) {
	entry := func(kind PieceKind, n uint32) []byte {
		return binary.LittleEndian.AppendUint32([]byte{0, 1, 0, 0, 0}, uint32(kind)<<30|n)
	}
	for name, p := range map[string][]byte{
		"nothing": nil, "a level": {0}, "another level": append([]byte{1}, entry(Zeros, 5)[1:]...),
		"many pieces": {0, 255, 255, 255, 255}, "kind 3": entry(3, 5), "piece of nothing": entry(Zeros, 0), "data without an id": entry(Data, 5),
		"zeros with an id": append(entry(Zeros, 5), make([]byte, chunk.IDSize)...), "no pieces": {0, 0, 0, 0, 0},
	} {
		_, err := ParsePage(p, 5)
		wantDamaged(t, name, err)
	}
	if _, err := ParsePage(entry(Unreadable, 5), 5); err != nil {
		t.Error(err)
	}
}

func TestNodeRoundTrip(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 2))
		want := new(Node)
		for range 1 + r.IntN(10) {
			want[r.IntN(1+int(seed)*5)][r.IntN(32)] = 1 + byte(r.IntN(255))
		}
		level := 1 + r.IntN(5)
		p := want.AppendTo([]byte("x"), level)[1:]
		got, err := ParseNode(p, level)
		if err != nil || *got != *want {
			t.Fatalf("seed %d: %v, or another node", seed, err)
		}
		for _, other := range []int{0, level - 1, level + 1, level + 256, -1} {
			_, err := ParseNode(p, other)
			wantDamaged(t, "a node of another level", err)
		}
		for n := range p {
			if (n-1)%chunk.IDSize != 0 || n <= 1 {
				_, err := ParseNode(p[:n], level)
				wantDamaged(t, "cut short", err)
			}
		}
		_, err = ParseNode(append(slices.Clone(p), make([]byte, chunk.IDSize)...), level)
		wantDamaged(t, "zeros at its end", err)
		_, err = ParseNode(append(slices.Clone(p), bytes.Repeat([]byte{1}, FanOut*chunk.IDSize)...), level)
		wantDamaged(t, "too many children", err)
	}
	_, err := ParseNode([]byte{1}, 1)
	wantDamaged(t, "no children", err)
}

func FuzzPage(f *testing.F) {
	for n := range 6 {
		pieces, length := randomPieces(rand.New(rand.NewPCG(uint64(n), 3)), n)
		f.Add(AppendPage(nil, pieces), length)
		f.Add(append(AppendPage(nil, pieces), 0), length)
	}
	f.Add([]byte{0, 255, 255, 255, 255}, int64(RegionSize))
	f.Fuzz(func(t *testing.T, p []byte, length int64) {
		pieces, err := ParsePage(p, length)
		if err != nil {
			wantDamaged(t, "a bad page", err)
			return
		}
		var total int64
		for _, q := range pieces {
			total += int64(q.Len)
		}
		if again := AppendPage(nil, pieces); !bytes.Equal(again, p) || total != length {
			t.Fatalf("%x of %d bytes parses, has %d bytes, and is written as %x", p, length, total, again)
		}
	})
}

func FuzzNode(f *testing.F) {
	full, one := new(Node), new(Node)
	for i := range full {
		full[i][0] = 1
	}
	one[3][31] = 7
	f.Add(one.AppendTo(nil, 1), 1)
	f.Add(one.AppendTo(nil, 2), 2)
	f.Add(full.AppendTo(nil, 5), 5)
	f.Add(append(one.AppendTo(nil, 1), make([]byte, 32)...), 1)
	f.Add([]byte{0}, 0)
	f.Fuzz(func(t *testing.T, p []byte, level int) {
		n, err := ParseNode(p, level)
		if err != nil {
			wantDamaged(t, "a bad node", err)
			return
		}
		if again := n.AppendTo(nil, level); !bytes.Equal(again, p) {
			t.Fatalf("%x parses and is written as %x", p, again)
		}
	})
}
