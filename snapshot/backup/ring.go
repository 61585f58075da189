package backup

import (
	"unsafe"

	"platter/snapshot/image"
)

// slotLen is the length of one read in bytes, if no hole parts it.
const slotLen = 1 << 20

// slotsAhead is how many slots a ring has beside those that the cutter needs to see.
const slotsAhead = 3

// A ring holds what was read of a disk and not yet cut, and beyond it the slots that reads in flight fill.
//
//	| room | slot 0 | slot 1 | slot 2 | slot 3 |
//	                   ~~~~view~~~~~   ^in flight, and so is slot 0
//
// The slots lie side by side, so the cutter sees one slice however many reads it came by, and nothing is copied. Behind
// the last slot comes the first again: what is in view then, less than the cutter needs, is copied to the room before it.
// A region begins with a slot of its own.
type ring struct {
	mem   []byte
	slots []*slot
	room  int // bytes
	next  int // slot to be given out

	held       []*slot // that the view reaches into, in order
	start, end int     // of the view, in mem
}

// A slot is memory for a stretch of a region, and what is to be read into it.
type slot struct {
	at   int    // in the ring's memory
	buf  []byte // slotLen bytes, aligned
	busy bool   // given out

	job  regionJob // data: of the extents, those that reach into the slot
	off  int64     // in the region, a multiple of slotLen
	n    int       // bytes; the region's last slot may have fewer
	last bool      // of the region
	zero bool      // all of it is a hole, or unreadable; its memory is cleared only when it comes into view
	bad  []badRun  // in order
	end  bool      // there is no region; only a stream finds out by reading
	err  error     // why it could not be read
	full chan struct{}
}

// newRing returns a ring for a cutter that needs to see so many bytes at once.
func newRing(need int) *ring {
	const align = image.Alignment
	room := (need + align - 1) / align * align
	n := (need+slotLen-1)/slotLen + slotsAhead
	mem := make([]byte, align+room+n*slotLen)
	mem = mem[-uintptr(unsafe.Pointer(&mem[0]))%align:]
	r := &ring{mem: mem, room: room, held: make([]*slot, 0, n)}
	for i := range n {
		at := room + i*slotLen
		r.slots = append(r.slots, &slot{at: at, buf: mem[at : at+slotLen : at+slotLen], full: make(chan struct{}, 1)})
	}
	return r
}

// vacant gives out the next slot; nil when none is free.
func (r *ring) vacant() *slot {
	if r.next == len(r.slots) {
		r.next = 0
	}
	s := r.slots[r.next]
	if s.busy {
		return nil
	}
	r.next++
	s.busy, s.zero, s.end, s.err, s.bad = true, false, false, nil, s.bad[:0]
	return s
}

func (r *ring) view() []byte { return r.mem[r.start:r.end] }

// take lets go of n bytes at the start of the view.
func (r *ring) take(n int) { r.start += n }

// add puts a slot behind the view; it was given out behind the one added last.
func (r *ring) add(s *slot) {
	if s.at != r.end { // the first slot comes behind the last, or a region begins
		r.move(s.at)
	}
	r.held = append(r.held, s)
	r.end += s.n
}

// move copies the view, so that it ends at byte end of the memory.
func (r *ring) move(end int) {
	tail := r.view()
	r.start, r.end = end-copy(r.mem[end-len(tail):], tail), end
}

// fold moves the view to the room, when no slot but those in view is given out, so that the first comes next. A core that reads what it
// is going to cut itself then goes over little memory, which stays in its cache; to copy the view costs less than to
// leave it.
func (r *ring) fold() {
	r.move(r.room)
	r.release()
	r.next = 0
}

// release takes back slots that the view does not reach into.
func (r *ring) release() {
	done := 0
	for _, s := range r.held {
		if s.at < r.end && s.at+slotLen > r.start && r.start < r.end {
			break
		}
		s.busy = false
		done++
	}
	r.held = r.held[:copy(r.held, r.held[done:])]
}
