package repo

import (
	"sync/atomic"
	"time"

	"platter/pack"
)

// A pace says how hard to compress. Left to itself it starts in the middle, where small backups stay; while the store keeps
// up with large ones, less compression makes them faster, and while it does not, more compression is free and makes
// them smaller and faster. Encoders ask from any goroutine.
type pace struct {
	fixed pack.Compression // CompressAuto to look for the best
	now   atomic.Uint32    // a pack.Compression
}

func newPace(fixed pack.Compression) *pace {
	p := &pace{fixed: fixed}
	p.now.Store(uint32(pack.CompressDefault))
	return p
}

// compression is how hard to compress the next frame.
func (p *pace) compression() pack.Compression {
	if p.fixed != pack.CompressAuto {
		return p.fixed
	}
	return pack.Compression(p.now.Load())
}

// How much of the time between two packs may be waiting for the store.
const (
	slowStore = 8  // one part in so many: compress harder
	fastStore = 32 // less than that: compress less
)

// pack takes note of a pack that was laid out in took, of which encoders waited for the store to take an earlier one.
func (p *pace) pack(took, waited time.Duration) {
	switch now := pack.Compression(p.now.Load()); {
	case waited > took/slowStore:
		p.now.Store(uint32(min(now+1, pack.CompressBetter)))
	case waited < took/fastStore:
		p.now.Store(uint32(max(now-1, pack.CompressFastest)))
	}
}
