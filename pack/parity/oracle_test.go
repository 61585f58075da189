package parity

import (
	"math/rand/v2"
	"testing"
)

// An oracle computes with single numbers, slowly, as docs/format.md describes it.
type oracle struct{ log, exp [field]int }

func newOracle() *oracle {
	basis := [16]int{
		0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012,
		0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E,
	}
	o := &oracle{}
	var image, origin [field]int // maps each number to the polynomial that it represents, and back
	for n := range field {
		for bit, b := range basis {
			if n>>bit&1 == 1 {
				image[n] ^= b
			}
		}
		origin[image[n]] = n
	}
	for power, i := 1, 0; i < field-1; i++ {
		o.exp[i] = origin[power]
		o.log[origin[power]] = i
		if power <<= 1; power >= field {
			power ^= 0x1002D
		}
	}
	return o
}

func (o *oracle) mul(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	return o.exp[(o.log[a]+o.log[b])%(field-1)]
}

func (o *oracle) div(a, b int) int {
	if a == 0 {
		return 0
	}
	return o.exp[(o.log[a]-o.log[b]+field-1)%(field-1)]
}

// parity returns the value of parity shard i for these values of the data shards.
func (o *oracle) parity(data []int, step, i int) int {
	sum := 0
	for from := 0; from < len(data); from += step {
		for j := range min(step, len(data)-from) {
			// Lagrange's polynomial: 1 at the point of data[from+j], 0 at the other points of its run.
			term := data[from+j]
			for other := range step {
				if other != j {
					term = o.mul(term, o.div(i^(step+from+other), j^other))
				}
			}
			sum ^= term
		}
	}
	return sum
}

// number returns the i-th of a shard's 2048 numbers.
func number(shard []byte, i int) int {
	at := i/32*64 + i%32
	return int(shard[at]) | int(shard[at+32])<<8
}

// TestParityIsAsDocumented checks that docs/format.md suffices to compute parity without the library.
func TestParityIsAsDocumented(t *testing.T) {
	o := newOracle()
	r := rand.New(rand.NewPCG(1, 1))
	for _, test := range []struct{ sectors, groups, parity int }{
		{1, 1, 1}, {2, 1, 1}, {2, 1, 2}, {5, 1, 3}, {16, 1, 4}, {37, 1, 5}, {3, 2, 2}, {3, 3, 1}, {50, 4, 9}, {64, 8, 8},
	} {
		s := newSample(t, test.sectors, test.groups, test.parity)
		for group := range s.Groups {
			i := r.IntN(Sector / 2)
			var data []int
			members := s.members(group)
			for _, shard := range members {
				if shard < s.sectors() {
					data = append(data, number(s.member(shard), i))
				}
			}
			for n, shard := range members[len(data):] {
				if got, want := number(s.member(shard), i), o.parity(data, s.step(), n); got != want {
					t.Fatalf("%+v: number %d of parity %d in group %d is %04x, want %04x", test, i, n, group, got, want)
				}
			}
		}
	}
}
