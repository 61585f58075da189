package chunk

import (
	"fmt"
	"io"
	"math/bits"

	"github.com/restic/chunker"
)

// MinZeroRun is the shortest run of zero blocks that is left out of the chunks. Shorter ones would cost more as
// entries of a map than as bytes that compress to nothing.
const MinZeroRun = 64 << 10 // bytes

// Params say where chunks end. They are chosen when a repository is made, and kept in its config.
type Params struct {
	Min int64 `json:"min"` // bytes, a multiple of Block; only the end of a run is shorter
	Avg int64 `json:"avg"` // bytes, a power of two: how far apart content's own cuts are, counted from Min on
	Max int64 `json:"max"` // bytes, a multiple of Block
}

// Bounds that Params keep within: below them a map outgrows its disk, above them a change costs too much.
const (
	MinAvg   = 8 << 10
	MaxAvg   = 4 << 20
	MaxChunk = 8 << 20
)

// ParamsFor returns the usual bounds about an average chunk size in bytes: five eighths of it, and eight times.
func ParamsFor(avg int64) Params {
	return Params{Min: max(avg*5/8/Block*Block, Block), Avg: avg, Max: 8 * min(avg, MaxChunk/8)}
}

// Validate returns an error that says which bound does not hold.
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

// Poly is the secret polynomial whose residues place the cuts.
type Poly uint64

// DerivePoly draws an irreducible polynomial from a stream of secret random bytes: the same one from the same stream.
func DerivePoly(secret io.Reader) (Poly, error) {
	p, err := chunker.DerivePolynomial(secret)
	if err != nil {
		return 0, fmt.Errorf("derive chunker polynomial: %w", err)
	}
	return Poly(p), nil
}

// A Cutter cuts the regions of a disk into pieces. It is not safe for concurrent use.
//
// A piece is a zero run or a chunk. Runs of at least MinZeroRun of zero blocks are zero pieces, and so is a shorter
// region that is all zeros; what lies between them is cut by its content, each cut rounded up to a multiple of Block.
// Nothing but the region's own bytes counts: not how they are read, and not what lies before or behind.
type Cutter struct {
	params Params
	rabin  *rabin

	started bool // the region's first piece was handed out
	inZero  bool // the last piece was zeros, which may go on
	clear   int  // in so many bytes from here on no zero run begins
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

// Need is how many bytes Next must see at once, unless the region ends before.
func (c *Cutter) Need() int { return int(c.params.Max) + MinZeroRun }

// Reset begins a new region.
func (c *Cutter) Reset() { c.started, c.inZero, c.clear = false, false, 0 }

// Next returns the length of the piece at the start of buf, and whether it is zeros. buf holds what is left of the
// region if final, else at least Need bytes of it and a multiple of Block. A long zero run may come as several pieces.
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

// Skip goes on behind zero bytes, at least MinZeroRun of them and a multiple of Block, that come where a piece ended: Next
// would call them zeros, and need not see them.
func (c *Cutter) Skip() { c.started, c.inZero, c.clear = true, true, 0 }

// Expect reports whether Next would cut a chunk of n bytes, on the word that these very bytes were cut so before, by the
// same rules, at the start of a chunk. ended says that zeros or the region's end came behind them then, so that they may
// have ended for that and not for what they hold. It costs next to nothing; whether the bytes are the same is for the
// caller to prove before it calls Take.
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

// Take goes on behind a chunk of n bytes.
func (c *Cutter) Take(n int) { c.started, c.inZero, c.clear = true, false, c.clear-n }

// zeros returns the length of the zero piece at the start of buf, 0 when a chunk starts there.
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

// look moves clear on to where the next zero run begins, or as far as the longest chunk can care.
func (c *Cutter) look(buf []byte, final bool) {
	view := buf[:min(len(buf), c.Need())]
	c.clear = c.untilZeroRun(view, final && len(view) == len(buf))
}

// cut returns where content ends the chunk that starts at p and cannot reach beyond p.
func (c *Cutter) cut(p []byte) int {
	return min((c.rabin.cut(p)+Block-1)&^(Block-1), len(p))
}

// untilZeroRun returns how far it is to the first zero run, len(p) when there is none. A run of zeros that reaches the
// end of p may turn out either way unless p is the region's last; it ends the way too, beyond the longest chunk.
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
