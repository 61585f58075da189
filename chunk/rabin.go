package chunk

import (
	"github.com/restic/chunker"
)

// rabinWindow is how many bytes a fingerprint covers.
const rabinWindow = 64

// A rabin finds where content ends a chunk: after the first rabinWindow bytes whose Rabin fingerprint ends in zero
// bits. A fingerprint depends on the bytes before its position alone, so several positions can be computed side by
// side.
type rabin struct {
	out      [256]uint64 // by the byte that leaves the window: its contribution to the fingerprint
	mod      [256]uint64 // by the bits above the polynomial's degree: what cancels them
	shift    uint        // right shift to those bits
	mask     uint64      // the bits that are zero at a cut
	min, max int
}

func newRabin(poly Poly, params Params) *rabin {
	pol := chunker.Pol(poly)
	deg := pol.Deg()
	r := &rabin{shift: uint(deg - 8), mask: uint64(params.Avg) - 1, min: int(params.Min), max: int(params.Max)}
	for b := range uint64(256) {
		// The remainder of b·x^deg cancels the bits above the degree and remains itself.
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

// roll advances the window by a byte. A zero byte that leaves changes nothing, so the initial window is all zeros.
func (r *rabin) roll(f uint64, leaves, comes byte) uint64 {
	f ^= r.out[leaves]
	return f<<8 | uint64(comes) ^ r.mod[byte(f>>(r.shift&63))]
}

// fingerprint returns the fingerprint of a whole window.
func (r *rabin) fingerprint(window []byte) (f uint64) {
	for _, b := range window {
		f = r.roll(f, 0, b)
	}
	return f
}

// A lane is a run of positions. Each fingerprint needs the one before it, so a core mostly waits for it. Four lanes
// side by side take hardly longer than one.
const lane = 1 << 10 // bytes

// cut returns the length of the chunk at the start of p: up to the first cut by content, at most r.max and len(p).
func (r *rabin) cut(p []byte) int {
	p = p[:min(len(p), r.max)]
	if len(p) <= r.min {
		return len(p)
	}
	at := r.min // no cut is earlier than this
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

// cutLane looks for a cut in p after its first window, whose fingerprint is f. It returns the distance from the
// window's end to the cut, or 0 if there is none.
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

// cutLanes does as cutLane for four lanes; p begins with the window before them.
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
		// An earlier lane may still have a cut in the part of it that was not examined.
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
