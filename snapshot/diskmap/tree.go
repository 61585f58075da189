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

// A Map is a tree over the regions of a disk. Its height follows from the disk's size. A disk of one region has its
// page as root, one of up to 256 regions has a node over pages, and so on. The zero ID represents a tree of zeros.
type Map struct {
	load Loader
	size int64
	root chunk.ID
	part *Range // the part of the disk that the map is clipped to; nil for all of it
}

// A Loader loads the nodes and pages of maps; a repository is one.
type Loader interface {
	// Load calls fn for each of the chunks of one kind, in any order. The bytes are valid until fn returns.
	Load(ctx context.Context, kind chunk.Kind, ids []chunk.ID, fn func(i int, data []byte) error) error
	// Workers is the number of cores to use.
	Workers() int
}

// New returns the map of a disk of size bytes.
func New(load Loader, size int64, root chunk.ID) *Map {
	return &Map{load: load, size: size, root: root}
}

// Size is the size of the whole disk in bytes, even if the map is clipped to a part of it.
func (m *Map) Size() int64 { return m.size }

// Root is the ID of the map's top node, or of its only page; zero for a disk of zeros.
func (m *Map) Root() chunk.ID { return m.root }

// Workers is the number of cores to use.
func (m *Map) Workers() int { return m.load.Workers() }

// ErrBeyond says that a map has regions beyond the end of its disk.
var ErrBeyond = fmt.Errorf("%w: its map goes beyond the end of the disk", pack.ErrDamaged)

// RegionCount is the number of regions of a disk of size bytes.
func RegionCount(size int64) int64 { return (size-1)/RegionSize + 1 } // size-1 cannot overflow; empty: 0 or 1 will do

// RegionLen is the length of a region of a disk of size bytes.
func RegionLen(size, region int64) int64 { return min(RegionSize, size-region*RegionSize) }

// Height is the number of levels of nodes above the pages of a disk of size bytes.
func Height(size int64) int {
	h := 0
	for n := RegionCount(size); n > 1; n = (n-1)/FanOut + 1 {
		h++
	}
	return h
}

// A Builder collects pages in any order and builds the nodes over them. It needs 8 KiB of memory for each 16 GiB of
// disk with data.
type Builder struct {
	mu     sync.Mutex
	leaves map[int64]*Node // of level 1, by position
}

// Set records the page of a region. It is safe for concurrent use.
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

// A Region is a region of a map, with its page.
type Region struct {
	Index int64
	Page  chunk.ID
}

// Regions yields every region of the part that is not all zeros, in order. Unlike a Fold, it yields a repeated region
// at each of its places.
func (m *Map) Regions(ctx context.Context) iter.Seq2[Region, error] {
	return func(yield func(Region, error) bool) {
		m.walk(ctx, Height(m.size), 0, m.root, yield)
	}
}

// EachRegion calls fn for every region that is not all zeros, on all cores.
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
	// If a worker failed, the walk was only stopped, so the worker's error is returned first.
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

// Has reports whether the disk has a node or page at this position of a level.
func (m *Map) Has(level int, at int64) bool {
	return at == 0 || at <= (RegionCount(m.size)-1)>>(8*level)
}

// Span returns the start and end, in bytes, of the run of the disk that a node or page describes.
func (m *Map) Span(level int, at int64) (from, to int64) {
	if 8*level > 36 { // wider than any disk
		return 0, m.size
	}
	width := int64(RegionSize) << (8 * level)
	from = at * width
	return from, from + min(width, m.size-from)
}

// A Subtree is a node or a page, and how many bytes of a disk it describes. Whatever follows from its map alone,
// counted from its start, is the same wherever the subtree occurs, so it is computed once. At the end of a disk, the
// same node may describe fewer bytes: that is another Subtree.
type Subtree struct {
	ID    chunk.ID
	Level int
	Width int64 // bytes
}

// Subtree returns the subtree of a node or page at a position of a level.
func (m *Map) Subtree(level int, at int64, id chunk.ID) Subtree {
	from, to := m.Span(level, at)
	return Subtree{id, level, to - from}
}

// Below returns the children of a node, with the node's own ID. With the zero ID, it returns the shape of the subtree.
func (s Subtree) Below() (children []Subtree) {
	width := ChildOffset(s.Level, 1)
	for left := s.Width; left > 0; left -= width {
		children = append(children, Subtree{s.ID, s.Level - 1, min(width, left)})
	}
	return children
}

// ChildOffset is the offset of a node's child from the node's start. It is meaningless for a child that no disk can
// have.
func ChildOffset(level, i int) int64 { return int64(i) * RegionSize << (8 * (level - 1)) }

// Node loads a node. The error wraps pack.ErrDamaged, or is that of the Loader.
func (m *Map) Node(ctx context.Context, level int, id chunk.ID) (n *Node, err error) {
	err = m.loadMap(ctx, id, func(data []byte) error {
		n, err = ParseNode(data, level)
		return err
	})
	return n, err
}

// Page returns the pieces of a region. It makes up those of a region of zeros.
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

// Children returns a node's children. A level above the root has the root as its only child; a tree of zeros has none.
func (m *Map) Children(ctx context.Context, level int, id chunk.ID) (*Node, error) {
	switch {
	case id.IsZero():
		return new(Node), nil
	case level > Height(m.size):
		return &Node{id}, nil
	}
	return m.Node(ctx, level, id)
}
