package storetest

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/zeebo/blake3"
)

// A Cut says what a power cut does with unsynced data. Synced bytes of files and synced entries of folders always
// survive.
type Cut int

const (
	Lost    Cut = iota // all of it is lost
	Kept               // all of it survives
	Torn512            // entries survive; files end after some 512 bytes
	Torn4K             // entries survive; files have their full length, with zeros from some page of 4096 on
	Random             // and every later number: a random subset of entries and of file pages, seeded by it
)

// Cuts is the usual number of cuts to try.
const Cuts = Random + 4

func (c Cut) String() string {
	if c >= Random {
		return fmt.Sprintf("random %d", c-Random)
	}
	return [...]string{"lost", "kept", "torn at 512", "torn at 4096"}[c]
}

// Lose returns the disk as a power cut leaves it. The disk itself continues unchanged.
func (d *Disk) Lose(c Cut) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lose(c)
}

func (d *Disk) lose(c Cut) *Disk {
	l := &loss{
		cut: c, rnd: rand.New(rand.NewPCG(uint64(c), uint64(len(d.calls)))),
		chosen: map[entry]int{}, copies: map[*node]*node{},
	}
	l.choose(d.root)
	for again := true; again; {
		again = false
		for _, r := range d.renames {
			if l.chose(r.from) >= r.call && l.raise(r.to, r.call) {
				again = true
			}
		}
	}
	return &Disk{root: l.copy(d.root), Clock: d.Clock, NoLinks: d.NoLinks}
}

// Sum is equal for disks with equal content.
func (d *Disk) Sum() (sum [32]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := blake3.New()
	d.root.walk("", func(name string, n *node) { fmt.Fprintf(h, "%s %x\n", name, n.sum) })
	h.Sum(sum[:0])
	return sum
}

// Dump writes the content of the disk.
func (d *Disk) Dump(w io.Writer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.root.walk("", func(name string, n *node) { fmt.Fprintf(w, "%8d %s\n", len(n.data), name) })
}

// syncFolder makes the entries of a folder durable. For entries renamed out of it, it also makes their new names
// durable.
func (d *Disk) syncFolder(dir *node) {
	for name, history := range dir.entries {
		entry{dir, name}.persist(history[len(history)-1].call)
	}
	for again := true; again; {
		again = false
		d.renames = slices.DeleteFunc(d.renames, func(r rename) bool {
			if r.to.durable() < r.call && r.from.durable() >= r.call {
				r.to.persist(r.call)
				for e, call, ok := r.to.dir.made(); ok; e, call, ok = e.dir.made() {
					e.persist(call)
				}
				again = true
			}
			return r.to.durable() >= r.call
		})
	}
}

// durable returns the call that made an entry's durable version.
func (e entry) durable() int { return e.dir.entries[e.name][0].call }

// persist makes an entry durable as it was after a call, if it is not yet.
func (e entry) persist(call int) {
	if history := e.dir.entries[e.name]; e.durable() < call {
		e.dir.entries[e.name] = history[since(history, call):]
	}
}

// made returns the entry of a folder, and the call that made it; false for the root.
func (n *node) made() (e entry, call int, ok bool) {
	if n.above == nil {
		return entry{}, 0, false
	}
	history := n.above.entries[n.name]
	at := slices.IndexFunc(history, func(v version) bool { return v.node == n })
	return entry{n.above, n.name}, history[at].call, true
}

// since returns the index of the first version of this call or a later one.
func since(history []version, call int) int {
	return slices.IndexFunc(history, func(v version) bool { return v.call >= call })
}

func sorted(entries map[string][]version) []string { return slices.Sorted(maps.Keys(entries)) }

// A loss is a power cut in progress.
type loss struct {
	cut    Cut
	rnd    *rand.Rand
	chosen map[entry]int   // the picked version of each entry
	copies map[*node]*node // copies, so that a file with two names stays one file
}

// choose picks a version of every entry.
func (l *loss) choose(dir *node) {
	for _, name := range sorted(dir.entries) {
		history := dir.entries[name]
		at := len(history) - 1
		switch {
		case l.cut == Lost:
			at = 0
		case l.cut >= Random:
			at = l.rnd.IntN(len(history))
		}
		l.chosen[entry{dir, name}] = at
		for _, v := range history {
			if v.node != nil && v.node.entries != nil {
				l.choose(v.node)
			}
		}
	}
}

// chose returns the call that made the picked version of an entry.
func (l *loss) chose(e entry) int { return e.dir.entries[e.name][l.chosen[e]].call }

// raise picks the version of a call, and that of the folder it is in, if an earlier one was picked.
func (l *loss) raise(e entry, call int) (raised bool) {
	if l.chose(e) < call {
		l.chosen[e] = since(e.dir.entries[e.name], call)
		raised = true
	}
	if above, made, ok := e.dir.made(); ok {
		raised = l.raise(above, made) || raised
	}
	return raised
}

// copy returns what remains of a file or a folder, all of it durable.
func (l *loss) copy(n *node) *node {
	if n.entries == nil {
		return l.file(n)
	}
	out := &node{name: n.name, entries: map[string][]version{}}
	for _, name := range sorted(n.entries) {
		if left := n.entries[name][l.chosen[entry{n, name}]].node; left != nil {
			c := l.copy(left)
			c.above, c.name = out, name
			out.entries[name] = []version{{node: c}}
		}
	}
	return out
}

func (l *loss) file(n *node) *node {
	if c := l.copies[n]; c != nil {
		return c
	}
	c := &node{time: n.time, data: n.synced, synced: n.synced, sum: n.sum}
	if len(n.data) > len(n.synced) {
		c.data = l.tear(n)
		c.synced, c.sum = c.data, blake3.Sum256(c.data)
	}
	c.data = slices.Clip(c.data)
	l.copies[n] = c
	return c
}

// tear returns what remains of a file. Files only grow: the synced bytes are a prefix of the written ones.
func (l *loss) tear(n *node) []byte {
	cut, size := l.cut, len(n.data)
	if cut >= Random {
		cut = Cut(l.rnd.IntN(int(Random) + 1))
	}
	unit, length := 4096, size
	written := func(int) bool { return true }
	switch cut {
	case Lost:
		return n.synced
	case Kept:
	case Torn512:
		unit = 512
		length = max(len(n.synced), unit*l.rnd.IntN((size+unit-1)/unit))
	case Torn4K:
		pages := l.rnd.IntN((size + unit - 1) / unit)
		written = func(page int) bool { return page < pages }
	default:
		if l.rnd.IntN(2) == 0 {
			length -= l.rnd.IntN(size - len(n.synced))
		}
		subset := rand.New(rand.NewPCG(l.rnd.Uint64(), 0))
		written = func(int) bool { return subset.IntN(2) == 0 }
	}
	left := make([]byte, length)
	for off := 0; off < length; off += unit {
		if end := min(off+unit, length); written(off / unit) {
			copy(left[off:end], n.data[off:end])
		}
	}
	copy(left, n.synced)
	return left
}

// A Wreck is a disk as a power cut left it.
type Wreck[P comparable] struct {
	Disk     *Disk
	Promised P      // what was promised by then
	Where    string // a description for people
}

// Wrecks runs work on a disk as it is. It cuts the power before the first call, after each call, and after work
// returns. It returns each different result once, and the number of cuts. promised returns what is promised by then; any
// goroutine may call it.
func Wrecks[P comparable](disk *Disk, cuts Cut, promised func() P, work func(*Disk)) (wrecks []Wreck[P], tried int) {
	type key struct {
		sum      [32]byte
		promised P
	}
	seen := map[key]bool{}
	after, calls := "the first call", 0
	look := func(lose func(Cut) *Disk) {
		for c := range cuts {
			left := lose(c)
			k := key{left.Sum(), promised()}
			if tried++; !seen[k] {
				seen[k] = true
				wrecks = append(wrecks, Wreck[P]{left, k.promised, fmt.Sprintf("cut after %d calls (%s), %v", calls, after, c)})
			}
		}
	}
	look(disk.Lose)
	disk.Then = func(lose func(Cut) *Disk) {
		calls = len(disk.calls)
		after = disk.calls[calls-1]
		look(lose)
	}
	work(disk)
	disk.Then = nil
	look(disk.Lose)
	return wrecks, tried
}
