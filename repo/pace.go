package repo

import (
	"sync/atomic"
	"time"

	"platter/pack"
)

// A pace says how hard to compress. Left to itself, it never compresses less than the default level, since space on the
// store is paid for as long as the version is kept. It goes up to the next level while that costs little time: the store
// is slower than the encoders, or so little of what is read is new that they are mostly idle. Encoders ask from any
// goroutine.
type pace struct {
	fixed   pack.Compression // CompressAuto to look for the best
	workers int              // encoders, one a core
	now     atomic.Uint32    // a pack.Compression
}

func newPace(fixed pack.Compression, workers int) *pace {
	p := &pace{fixed: fixed, workers: workers}
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

// Shares of the time between two packs. The next level takes twice the time of the default one.
const (
	slowStore   = 8  // waiting for the store for more than one part in so many: compress harder
	fastStore   = 32 // less than that: the store leaves no time
	idleEncoder = 16 // encoding for less than one part in so many of all cores' time: compress harder
	busyEncoder = 6  // more than that: encoding at the harder level takes time from the backup
)

// pack takes note of a pack that was laid out in took. Of that, encoders waited for the store to take an earlier pack, and
// were encoding, added up over all of them.
func (p *pace) pack(took, waited, encoding time.Duration) {
	cores := took * time.Duration(p.workers)
	switch {
	case waited > took/slowStore || encoding < cores/idleEncoder:
		p.now.Store(uint32(pack.CompressBetter))
	case waited < took/fastStore && encoding > cores/busyEncoder:
		p.now.Store(uint32(pack.CompressDefault))
	}
}
