package chunk

import (
	"fmt"
	"io"
	"math/bits"

	"github.com/restic/chunker"
)

// MinZeroRun is the shortest run of zero blocks that is not stored as chunks. A shorter run costs more as an entry of
// a map than as bytes that compress to nothing.
const MinZeroRun = 64 << 10 // bytes

// Params are the bounds of chunk lengths. They are chosen when a repository is created, and its config holds them.
type Params struct {
	Min int64 `json:"min"` // bytes, a multiple of Block; only the last chunk of a run is shorter
	Avg int64 `json:"avg"` // bytes, a power of two: the mean distance, counted from Min, to a cut that content makes
	Max int64 `json:"max"` // bytes, a multiple of Block
}

// Bounds of Params. Smaller chunks make a map larger than its disk; larger ones make each change too expensive.
const (
	MinAvg   = 8 << 10
	MaxAvg   = 4 << 20
	MaxChunk = 8 << 20
)

// ParamsFor returns the usual bounds for an average chunk size in bytes: Min is 5/8 of it, Max is 8 times it.
func ParamsFor(avg int64) Params {
	return Params{Min: max(avg*5/8/Block*Block, Block), Avg: avg, Max: 8 * min(avg, MaxChunk/8)}
}

// Validate returns an error that names the first bound that p violates.
func (p Params) Validate() error {
	switch {
	case p.Avg < MinAvg || p.Avg > MaxAvg || bits.OnesCount64(uint64(p.Avg)) != 1:
		return fmt.Errorf("average chunk size %d: want a power of two from %d to %d", p.Avg, MinAvg, MaxAvg)
	case p.Min < Block || p.Min%Block != 0 || p.Min > p.Avg:
		return fmt.Errorf("smallest chunk size %d: want a multiple of %d up to the average", p.Min, Block)
	case p.Max < p.Avg || p.Max%Block != 0 || p.Max > MaxChunk:
		return fmt.Errorf("largest chunk size %d: want a multiple of %d from the average to %d", p.Max, Block, MaxChunk)
	}
	return nil
}

// Poly is the secret polynomial of the Rabin fingerprint that decides the cuts.
type Poly uint64

// DerivePoly derives an irreducible polynomial from a stream of secret random bytes. It is deterministic.
func DerivePoly(secret io.Reader) (Poly, error) {
	p, err := chunker.DerivePolynomial(secret)
	if err != nil {
		return 0, fmt.Errorf("derive chunker polynomial: %w", err)
	}
	return Poly(p), nil
}

// A Cutter cuts the regions of a disk into pieces. It is not safe for concurrent use.
//
// A piece is a zero run or a chunk. A run of at least MinZeroRun bytes of zero blocks is a zero piece. So is a
// shorter region that is all zeros. Content decides the cuts of everything else, and each cut is rounded up to a
// multiple of Block.
//
// The pieces depend on the region's bytes alone: not on the sizes of reads, and not on the regions around it.
type Cutter struct {
	params Params
	rabin  *rabin

	started bool // Next or Take returned the region's first piece
	inZero  bool // the last piece was zeros, which may continue
	clear   int  // bytes from here in which no zero run begins
}

// NewCutter returns a Cutter for valid params.
func NewCutter(poly Poly, params Params) (*Cutter, error) {
	if err := params.Validate(); err != nil {
		return nil, err
	}
	if d := chunker.Pol(poly).Deg(); d < 16 || d > 53 {
		return nil, fmt.Errorf("chunker polynomial of degree %d: want 16 to 53", d)
	}
	return &Cutter{params: params, rabin: newRabin(poly, params)}, nil
}

// Need returns how many bytes Next must see at once, unless the region ends earlier.
func (c *Cutter) Need() int { return int(c.params.Max) + MinZeroRun }

// Reset begins a new region.
func (c *Cutter) Reset() { c.started, c.inZero, c.clear = false, false, 0 }

// Next returns the length of the piece at the start of buf, and whether it is zeros. If final, buf holds the rest of
// the region. Otherwise it holds at least Need bytes, and a multiple of Block. A long zero run may be returned as
// several pieces.
func (c *Cutter) Next(buf []byte, final bool) (n int, zero bool) {
	if n := c.zeros(buf, final); n > 0 {
		c.started, c.inZero = true, true
		return n, true
	}
	c.look(buf, final)
	n = c.cut(buf[:min(c.clear, int(c.params.Max))])
	c.Take(n)
	return n, false
}

// Skip advances past zero bytes at a piece's end without a call of Next, which need not see them. There must be at
// least MinZeroRun of them, and a multiple of Block.
func (c *Cutter) Skip() { c.Resume(true) }

// Resume advances past a piece that Next would have made, without seeing it. zero says that it was zeros.
func (c *Cutter) Resume(zero bool) { c.started, c.inZero, c.clear = true, zero, 0 }

// Expect reports whether Next would cut a chunk of n bytes, given that the same bytes at the start of a chunk were
// once cut so by the same rules. ended says that zeros or the region's end followed then, which may have ended the
// chunk instead of its content. Expect does not read the content, so it costs almost nothing: the caller must prove
// that the bytes are the same before it calls Take.
func (c *Cutter) Expect(buf []byte, final bool, n int, ended bool) bool {
	if n > len(buf) || c.zeros(buf, final) > 0 {
		return false
	}
	c.look(buf, final)
	if ended {
		return n == c.clear && (n < len(buf) || final)
	}
	return n <= c.clear
}

// Take advances past a chunk of n bytes.
func (c *Cutter) Take(n int) { c.started, c.inZero, c.clear = true, false, c.clear-n }

// zeros returns the length of the zero piece at the start of buf, or 0 if a chunk starts there.
func (c *Cutter) zeros(buf []byte, final bool) int {
	if c.clear > 0 {
		return 0
	}
	n := zeroBlocks(buf)
	allZero := !c.started && final && n == len(buf)
	if n >= MinZeroRun || c.inZero || allZero {
		return n
	}
	return 0
}

// look advances clear to the next zero run, but no further than the longest chunk can reach.
func (c *Cutter) look(buf []byte, final bool) {
	view := buf[:min(len(buf), c.Need())]
	c.clear = c.untilZeroRun(view, final && len(view) == len(buf))
}

// cut returns where content ends the chunk at the start of p. The chunk ends at len(p) at the latest.
func (c *Cutter) cut(p []byte) int {
	return min((c.rabin.cut(p)+Block-1)&^(Block-1), len(p))
}

// untilZeroRun returns the distance to the first zero run, or len(p) if there is none. Zeros that reach the end of p
// count as a run unless p is the region's last: more may follow, and the longest chunk ends before them.
func (c *Cutter) untilZeroRun(p []byte, last bool) int {
	for i := c.clear; i < len(p); {
		n := zeroBlocks(p[i:])
		if n >= MinZeroRun || n > 0 && i+n == len(p) && !last {
			return i
		}
		i += max(n, Block)
	}
	return len(p)
}
