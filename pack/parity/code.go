package parity

import (
	"iter"

	"github.com/klauspost/reedsolomon"
)

// Memory is how many bytes the code's tables take. They are made at the first use, once in a process, and never
// freed.
const Memory = 73 << 20

// workSize is how many bytes of working memory the code may use. It processes the shards in columns, as wide as this
// allows. Wider columns are a little faster, but mending whole shards would need twice the pack's size again.
const workSize = 8 << 20

// A code computes with the shards of a group. It is not safe for concurrent use.
type code struct {
	Geometry
	rs     reedsolomon.Encoder
	shards [][]byte // of one group: data, then parity
	zeros  []byte   // the last shard of groups with one shard less
}

func newCode(g Geometry) (*code, error) {
	rs, err := reedsolomon.New(g.data(), g.Parity, reedsolomon.WithLeopardGF16(true))
	return &code{g, rs, make([][]byte, g.data()+g.Parity), make([]byte, Sector)}, err
}

// encode computes parity from data.
func (c *code) encode(data, parity []byte) error {
	for group := range c.Groups {
		for from, to := range columns(2 * c.step()) {
			c.fill(data, parity, group, from, to, nil)
			if err := c.rs.Encode(c.shards); err != nil {
				return err
			}
		}
	}
	return nil
}

// mend computes the lost shards of data; the others must be right. No group may have lost more shards than it has
// parity.
func (c *code) mend(data, parity []byte, lost []bool) error {
	for group := range c.Groups {
		if !c.anyLost(group, lost) {
			continue
		}
		for from, to := range columns(roundUp(c.step() + c.data())) {
			c.fill(data, parity, group, from, to, lost)
			if err := c.rs.ReconstructData(c.shards); err != nil {
				return err
			}
		}
	}
	return nil
}

// anyLost reports whether a group has lost data shards.
func (c *code) anyLost(group int, lost []bool) bool {
	for i := group; i < c.sectors(); i += c.Groups {
		if lost[i] {
			return true
		}
	}
	return false
}

// columns yields the bounds of each column in a shard, for a number of buffers as wide as a column. The width is a
// power of two of at least 64 bytes, because the code processes 64 bytes at a time.
func columns(buffers int) iter.Seq2[int, int] {
	width := Sector
	for width > 64 && width*buffers > workSize {
		width /= 2
	}
	return func(yield func(from, to int) bool) {
		for from := 0; from < Sector && yield(from, from+width); from += width {
		}
	}
}

// fill points c.shards at a column of a group. A lost shard is a slice of length 0 whose memory the code fills.
func (c *code) fill(data, parity []byte, group, from, to int, lost []bool) {
	cut := func(p []byte, i int, lost bool) []byte {
		p = p[i*Sector+from : i*Sector+to : i*Sector+to]
		if lost {
			return p[:0]
		}
		return p
	}
	for i := range c.data() {
		shard := i*c.Groups + group
		if shard >= c.sectors() {
			c.shards[i] = c.zeros[from:to]
			continue
		}
		c.shards[i] = cut(data, shard, lost != nil && lost[shard])
	}
	for i := range c.Parity {
		shard := i*c.Groups + group
		c.shards[c.data()+i] = cut(parity, shard, lost != nil && lost[c.sectors()+shard])
	}
}
