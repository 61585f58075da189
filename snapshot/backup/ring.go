package backup

import (
	"unsafe"

	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// slotLen is the length of one read in bytes, if no hole splits it.
const slotLen = 1 << 20

// slotsAhead is the number of slots in a ring beyond those that the cutter needs to see.
const slotsAhead = 3

// A ring holds bytes that were read from a disk and not yet cut. After them come the slots that reads in flight fill.
//
//	| room | slot 0 | slot 1 | slot 2 | slot 3 |
//	                   ~~~~view~~~~~   ^in flight, and so is slot 0
//
// The slots are contiguous, so the cutter sees one slice however many reads filled it, and nothing is copied. After the
// last slot, the first is used again. Then the view, which is shorter than what the cutter needs, is copied to the room
// before the first slot. A region starts with a slot of its own.
type ring struct {
	mem   []byte
	slots []*slot
	room  int // bytes
	next  int // next slot to hand out

	held       []*slot // slots that the view reaches into, in order
	start, end int     // of the view, in mem
}

// A slot is memory for a run of a region, and says what to read into it.
type slot struct {
	at   int    // in the ring's memory
	buf  []byte // slotLen bytes, aligned
	busy bool   // handed out

	job  regionJob // data has the extents that reach into the slot
	off  int64     // in the region, a multiple of slotLen
	n    int       // bytes; the region's last slot may have fewer
	last bool      // of the region
	zero bool      // the whole slot is a hole or unreadable; its memory is cleared only when it comes into view
	bad  []badRun  // in order
	end  bool      // there are no more regions; only a stream finds that by reading
	err  error     // why it could not be read
	full chan struct{}
}

// pos is the offset of the slot on the disk.
func (s *slot) pos() int64 { return s.job.region*diskmap.RegionSize + s.off }

// clip returns the part of an extent that is in the slot, counted from the slot's start.
func (s *slot) clip(e image.Extent) (from, to int64) {
	return max(e.Off-s.pos(), 0), min(e.Off+e.Len-s.pos(), int64(s.n))
}

// newRing returns a ring for a cutter that needs to see need bytes at once.
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

// vacant hands out the next slot; nil if none is free.
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

// take removes n bytes from the start of the view.
func (r *ring) take(n int) { r.start += n }

// add appends to the view the slot that was handed out after the last one added.
func (r *ring) add(s *slot) {
	if s.at != r.end { // the first slot follows the last, or a region starts
		r.move(s.at)
	}
	r.held = append(r.held, s)
	r.end += s.n
}

// move copies the view so that it ends at byte end of the memory.
func (r *ring) move(end int) {
	tail := r.view()
	r.start, r.end = end-copy(r.mem[end-len(tail):], tail), end
}

// fold moves the view to the room, so that the first slot is next. It must be called only when all slots handed out are
// in view. A core that itself reads the data that it cuts then uses little memory, which stays in its cache. Copying
// the view costs less than using more memory.
func (r *ring) fold() {
	r.move(r.room)
	r.release()
	r.next = 0
}

// release frees slots that the view does not reach into.
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
