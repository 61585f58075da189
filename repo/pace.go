package repo

import (
	"sync/atomic"
	"time"

	"platter/pack"
)

// A pace chooses the compression level. It never goes below the default level by itself, because every version costs
// space as long as it is kept. It goes up one level while that costs little time: either the store is slower than the
// encoders, or most data is not new and the encoders are mostly idle. Encoders ask from any goroutine.
type pace struct {
	fixed   pack.Compression // CompressAuto to choose the level
	workers int              // encoders, one per core
	now     atomic.Uint32    // a pack.Compression
}

func newPace(fixed pack.Compression, workers int) *pace {
	p := &pace{fixed: fixed, workers: workers}
	p.now.Store(uint32(pack.CompressDefault))
	return p
}

// compression returns the level for the next frame.
func (p *pace) compression() pack.Compression {
	if p.fixed != pack.CompressAuto {
		return p.fixed
	}
	return pack.Compression(p.now.Load())
}

// Shares of the time between two packs. The next level takes twice as long as the default one.
const (
	slowStore   = 8  // waiting for the store takes more than 1/8 of the time: compress harder
	fastStore   = 32 // waiting takes less than 1/32: the store leaves no time for a harder level
	idleEncoder = 16 // encoding takes less than 1/16 of all cores' time: compress harder
	busyEncoder = 6  // encoding takes more than 1/6: a harder level would slow the backup
)

// pack records a pack that was laid out in the time took. waited is how long encoders waited for the store to accept an
// earlier pack. encoding is the sum over all encoders.
func (p *pace) pack(took, waited, encoding time.Duration) {
	cores := took * time.Duration(p.workers)
	switch {
	case waited > took/slowStore || encoding < cores/idleEncoder:
		p.now.Store(uint32(pack.CompressBetter))
	case waited < took/fastStore && encoding > cores/busyEncoder:
		p.now.Store(uint32(pack.CompressDefault))
	}
}
