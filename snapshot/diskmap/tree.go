package diskmap

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/pack"
)

// A Map is a tree over the regions of a disk. How high it is follows from the size: a disk of one region has its page
// as root, one of up to 256 regions a node over pages, and so on. The zero id stands for a tree of zeros.
type Map struct {
	load Loader
	size int64
	root chunk.ID
	part *Range // what of the disk is looked at; nil for all of it
}

// A Loader has the nodes and pages of maps; a repository is one.
type Loader interface {
	// Load calls fn for each of the chunks of one kind, in any order. The bytes hold until fn returns.
	Load(ctx context.Context, kind chunk.Kind, ids []chunk.ID, fn func(i int, data []byte) error) error
	// Workers is how many cores may be used.
	Workers() int
}

// New returns the map of a disk of size bytes.
func New(load Loader, size int64, root chunk.ID) *Map {
	return &Map{load: load, size: size, root: root}
}

// Size is the size of the disk in bytes, whatever part of it the map is clipped to.
func (m *Map) Size() int64 { return m.size }

// Root is the ID of the map's uppermost node, or only page; zero for a disk of zeros.
func (m *Map) Root() chunk.ID { return m.root }

// Workers is how many cores may be used.
func (m *Map) Workers() int { return m.load.Workers() }

// ErrBeyond says that a map has regions behind the end of its disk.
var ErrBeyond = fmt.Errorf("%w: its map goes beyond the end of the disk", pack.ErrDamaged)

// RegionCount is how many regions a disk of size bytes has.
func RegionCount(size int64) int64 { return (size-1)/RegionSize + 1 } // size-1 cannot overflow; of no bytes, 0 or 1 is alike

// RegionLen is how long a region of a disk of size bytes is.
func RegionLen(size, region int64) int64 { return min(RegionSize, size-region*RegionSize) }

// Height is how many levels of nodes are over the pages of a disk of size bytes.
func Height(size int64) int {
	h := 0
	for n := RegionCount(size); n > 1; n = (n-1)/FanOut + 1 {
		h++
	}
	return h
}

// A Builder collects pages in any order and builds the nodes over them. It keeps 8 KiB for each 16 GiB of disk that
// hold data.
type Builder struct {
	mu     sync.Mutex
	leaves map[int64]*Node // of level 1, by their place
}

// Set says which page a region has. It is safe for concurrent use.
func (t *Builder) Set(region int64, page chunk.ID) {
	if page.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leaves == nil {
		t.leaves = make(map[int64]*Node)
	}
	put(t.leaves, region, page)
}

func put(level map[int64]*Node, at int64, id chunk.ID) {
	n := level[at/FanOut]
	if n == nil {
		n = new(Node)
		level[at/FanOut] = n
	}
	n[at%FanOut] = id
}

// Finish saves the nodes of a disk of size bytes and returns its root.
func (t *Builder) Finish(ctx context.Context, size int64, save func(context.Context, []byte) (chunk.ID, error)) (chunk.ID, error) {
	nodes, top := t.leaves, Height(size)
	if top == 0 || len(nodes) == 0 {
		if n := nodes[0]; n != nil {
			return n[0], nil
		}
		return chunk.ID{}, nil
	}
	for level := 1; ; level++ {
		above := map[int64]*Node{}
		for at, n := range nodes {
			id, err := save(ctx, n.AppendTo(nil, level))
			if err != nil {
				return chunk.ID{}, err
			}
			if level == top {
				return id, nil
			}
			put(above, at, id)
		}
		nodes = above
	}
}

// A Region is one of a map that has a page.
type Region struct {
	Index int64
	Page  chunk.ID
}

// Regions yields every region of the part that is not all zeros, in order. It is no Fold: a region that a map has in many
// places is yielded at each.
func (m *Map) Regions(ctx context.Context) iter.Seq2[Region, error] {
	return func(yield func(Region, error) bool) {
		m.walk(ctx, Height(m.size), 0, m.root, yield)
	}
}

// EachRegion hands every region that is not all zeros to fn, on all cores.
func (m *Map) EachRegion(ctx context.Context, fn func(context.Context, Region) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(m.load.Workers())
	var walk error
	for reg, err := range m.Regions(gctx) {
		if walk = cmp.Or(err, gctx.Err()); walk != nil {
			break
		}
		g.Go(func() error { return fn(gctx, reg) })
	}
	// Where a worker failed, the walk was only told to stop: the worker's error is the one to tell.
	return cmp.Or(g.Wait(), ctx.Err(), walk)
}

// walk yields the regions below one node or page, and reports whether to go on.
func (m *Map) walk(ctx context.Context, level int, at int64, id chunk.ID, yield func(Region, error) bool) bool {
	if id.IsZero() {
		return true
	}
	if level == 0 {
		return yield(Region{at, id}, nil)
	}
	n, err := m.Node(ctx, level, id)
	if err != nil {
		return yield(Region{}, err)
	}
	for i, child := range n {
		if !child.IsZero() && !m.Has(level-1, at*FanOut+int64(i)) {
			return yield(Region{}, ErrBeyond)
		}
		if !m.Touches(level-1, at*FanOut+int64(i)) {
			continue
		}
		if !m.walk(ctx, level-1, at*FanOut+int64(i), child, yield) {
			return false
		}
	}
	return true
}

// Has reports whether a disk has a node or page at this place of a level.
func (m *Map) Has(level int, at int64) bool {
	return at == 0 || at <= (RegionCount(m.size)-1)>>(8*level)
}

// Span is where the disk that a node or page describes begins and ends, in bytes.
func (m *Map) Span(level int, at int64) (from, to int64) {
	if 8*level > 36 { // wider than any disk
		return 0, m.size
	}
	width := int64(RegionSize) << (8 * level)
	from = at * width
	return from, from + min(width, m.size-from)
}

// A Subtree is a node or a page, and how much of a disk it describes. All that follows from its map alone is the same
// wherever a disk has it, if it is counted from where it begins; so it is worked out once. Of a disk's last one less may be
// there, and then it is another.
type Subtree struct {
	ID    chunk.ID
	Level int
	Width int64 // bytes
}

// Subtree returns what a node or page at a place of a level is.
func (m *Map) Subtree(level int, at int64, id chunk.ID) Subtree {
	from, to := m.Span(level, at)
	return Subtree{id, level, to - from}
}

// Below returns the children of a node, all of the same ID as the node: with the zero ID, the shape of what is below.
func (s Subtree) Below() (children []Subtree) {
	width := ChildOffset(s.Level, 1)
	for left := s.Width; left > 0; left -= width {
		children = append(children, Subtree{s.ID, s.Level - 1, min(width, left)})
	}
	return children
}

// ChildOffset is where a node's child begins, counted from where the node does. It means nothing for a child that no disk has.
func ChildOffset(level, i int) int64 { return int64(i) * RegionSize << (8 * (level - 1)) }

// Node loads a node. The error wraps pack.ErrDamaged, or is the loader's.
func (m *Map) Node(ctx context.Context, level int, id chunk.ID) (n *Node, err error) {
	err = m.loadMap(ctx, id, func(data []byte) error {
		n, err = ParseNode(data, level)
		return err
	})
	return n, err
}

// Page returns the pieces of a region; those of a region of zeros are made up.
func (m *Map) Page(ctx context.Context, region int64, id chunk.ID) (pieces []Piece, err error) {
	length := RegionLen(m.size, region)
	if length <= 0 {
		return nil, fmt.Errorf("%w: map of a disk of %d bytes has a region %d", pack.ErrDamaged, m.size, region)
	}
	if id.IsZero() {
		return []Piece{{Kind: Zeros, Len: uint32(length)}}, nil
	}
	err = m.loadMap(ctx, id, func(data []byte) error {
		pieces, err = ParsePage(data, length)
		return err
	})
	return pieces, err
}

func (m *Map) loadMap(ctx context.Context, id chunk.ID, fn func([]byte) error) error {
	err := m.load.Load(ctx, chunk.Map, []chunk.ID{id}, func(_ int, data []byte) error { return fn(data) })
	if err != nil {
		return fmt.Errorf("read map: %w", err)
	}
	return nil
}

// PageID finds the page of one region.
func (m *Map) PageID(ctx context.Context, region int64) (chunk.ID, error) {
	id := m.root
	for level := Height(m.size); level > 0 && !id.IsZero(); level-- {
		n, err := m.Node(ctx, level, id)
		if err != nil {
			return chunk.ID{}, err
		}
		at := region
		for range level - 1 {
			at /= FanOut
		}
		id = n[at%FanOut]
	}
	return id, nil
}

// Children returns a node's children. Above the root, a tree goes on as its own only child; a tree of zeros has none.
func (m *Map) Children(ctx context.Context, level int, id chunk.ID) (*Node, error) {
	switch {
	case id.IsZero():
		return new(Node), nil
	case level > Height(m.size):
		return &Node{id}, nil
	}
	return m.Node(ctx, level, id)
}
