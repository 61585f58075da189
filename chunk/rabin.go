package chunk

import (
	"github.com/restic/chunker"
)

// rabinWindow is how many bytes a fingerprint is of.
const rabinWindow = 64

// A rabin finds where content ends a chunk: behind the first rabinWindow bytes whose Rabin fingerprint ends in zeros. The
// fingerprint of a place depends on the bytes before it alone, so that several places can be looked at in turn.
type rabin struct {
	out      [256]uint64 // by the byte that leaves the window: what it adds to the fingerprint
	mod      [256]uint64 // by the bits above the polynomial's degree: what takes them away
	shift    uint        // to those bits
	mask     uint64      // of bits that are zero at a cut
	min, max int
}

func newRabin(poly Poly, params Params) *rabin {
	pol := chunker.Pol(poly)
	deg := pol.Deg()
	r := &rabin{shift: uint(deg - 8), mask: uint64(params.Avg) - 1, min: int(params.Min), max: int(params.Max)}
	for b := range uint64(256) {
		// The remainder of b·x^deg cancels the bits above the degree, and itself stays.
		r.mod[b] = uint64(chunker.Pol(b<<deg).Mod(pol)) | b<<deg
	}
	for b := range 256 {
		f := r.roll(0, 0, byte(b))
		for range rabinWindow - 1 {
			f = r.roll(f, 0, 0)
		}
		r.out[b] = f
	}
	return r
}

// roll moves the window on by a byte. A zero byte that leaves changes nothing, so a window begins empty.
func (r *rabin) roll(f uint64, leaves, comes byte) uint64 {
	f ^= r.out[leaves]
	return f<<8 | uint64(comes) ^ r.mod[byte(f>>(r.shift&63))]
}

// fingerprint returns that of a whole window.
func (r *rabin) fingerprint(window []byte) (f uint64) {
	for _, b := range window {
		f = r.roll(f, 0, b)
	}
	return f
}

// A lane is a stretch of places. Of each byte the fingerprint needs the one before, so a core waits for it most of the time, and
// four lanes take hardly longer than one.
const lane = 1 << 10 // bytes

// cut returns the length of the chunk at the start of p: up to where content ends it, the longest chunk, or len(p).
func (r *rabin) cut(p []byte) int {
	p = p[:min(len(p), r.max)]
	if len(p) <= r.min {
		return len(p)
	}
	at := r.min // places before it are behind us
	if f := r.fingerprint(p[at-rabinWindow : at]); f&r.mask == 0 {
		return at
	}
	for ; len(p)-at >= 4*lane; at += 4 * lane {
		if n := r.cutLanes(p[at-rabinWindow : at+4*lane]); n > 0 {
			return at + n
		}
	}
	if n := r.cutLane(p[at-rabinWindow:], r.fingerprint(p[at-rabinWindow:at])); n > 0 {
		return at + n
	}
	return len(p)
}

// cutLane looks at all places of p behind its first window, whose fingerprint is f, and returns how many lie before the
// first cut and at it, 0 for none.
func (r *rabin) cutLane(p []byte, f uint64) int {
	comes := p[rabinWindow:]
	leaves := p[:len(comes)]
	for i, b := range comes {
		if f = r.roll(f, leaves[i], b); f&r.mask == 0 {
			return i + 1
		}
	}
	return 0
}

// cutLanes is cutLane for four lanes and the window before them.
func (r *rabin) cutLanes(p []byte) int {
	a, b, c, d := (*[lane + rabinWindow]byte)(p), (*[lane + rabinWindow]byte)(p[lane:]), (*[lane + rabinWindow]byte)(p[2*lane:]), (*[lane + rabinWindow]byte)(p[3*lane:])
	fa, fb := r.fingerprint(a[:rabinWindow]), r.fingerprint(b[:rabinWindow])
	fc, fd := r.fingerprint(c[:rabinWindow]), r.fingerprint(d[:rabinWindow])
	mask := r.mask
	for i := range lane {
		fa, fb = r.roll(fa, a[i], a[i+rabinWindow]), r.roll(fb, b[i], b[i+rabinWindow])
		fc, fd = r.roll(fc, c[i], c[i+rabinWindow]), r.roll(fd, d[i], d[i+rabinWindow])
		if fa&mask != 0 && fb&mask != 0 && fc&mask != 0 && fd&mask != 0 {
			continue
		}
		// The lanes before the one that found a cut may have an earlier one in what is left of them.
		for k, f := range [4]uint64{fa, fb, fc, fd} {
			if f&mask == 0 {
				return k*lane + i + 1
			}
			if n := r.cutLane(p[k*lane+i+1:(k+1)*lane+rabinWindow], f); n > 0 {
				return k*lane + i + 1 + n
			}
		}
	}
	return 0
}
