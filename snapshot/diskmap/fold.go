package diskmap

import (
	"cmp"
	"context"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
)

// A Fold computes a value for maps from the bottom up: for each page, then for each node from the values below it.
//
// It reads each subtree once, even if it occurs in many places and maps, and keeps its value for later maps. So a
// hostile map of 2^36 equal regions costs no more than its distinct nodes and pages. If a map is clipped to a part of
// its disk, values of subtrees that cross an end of the part are computed but not kept.
//
// A Fold has no order and does not distinguish places. To see each region in its place, use Map.Regions. A comparison
// of two maps must look at pairs of subtrees.
type Fold[T any] struct {
	// Page returns the value of a page. Region is one of the regions that have it.
	Page func(ctx context.Context, m *Map, region int64, pieces []Piece) (T, error)
	// Node returns the value of a node, after those below it; nil if nodes have no value.
	Node func(ctx context.Context, s Subtree, below []Below[T]) (T, error)
	// Enter is called once before a node or page is read, in disk order. If it returns known, value is that of the
	// subtree, and nothing of the subtree is read. If Enter is nil, everything is read.
	Enter func(s Subtree) (value T, known bool)
	// Beyond returns the value of a subtree beyond the end of the disk. If Beyond is nil, such a subtree is ErrBeyond.
	Beyond func() (T, error)
	// Unreadable returns the value of a node or page that cannot be read, or an error that ends the fold. If Unreadable
	// is nil, the fold ends.
	Unreadable func(ctx context.Context, s Subtree, reason error) (T, error)
	// AllCores reads several pages at once. Page and Unreadable must then be safe for concurrent use.
	AllCores bool

	known map[Subtree]*T
}

// A Below is the value of a node's child.
type Below[T any] struct {
	Index int   // in the node
	Off   int64 // offset of the child from the node's start, in bytes
	Value T
}

// Of returns the value of a map, or of the part to which it is clipped. After an error no values are kept.
func (f *Fold[T]) Of(ctx context.Context, m *Map) (value T, err error) {
	if f.known == nil {
		f.known = map[Subtree]*T{}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(m.load.Workers())
	w := folding[T]{Fold: f, m: m, pages: g}
	root, err := w.walk(gctx, Height(m.size), 0, m.root)
	// If a page failed, the walk was only stopped, so the page's error is returned first.
	if err = cmp.Or(g.Wait(), err); err == nil {
		err = w.combine(ctx)
	}
	if err != nil {
		f.known = nil // it has values that were never computed
		return value, err
	}
	if root != nil {
		value = *root
	}
	return value, nil
}

// Known returns the value of a folded subtree.
func (f *Fold[T]) Known(s Subtree) (value T, ok bool) {
	if v := f.known[s]; v != nil {
		return *v, true
	}
	return value, false
}

// A folding is the fold of one map. It reads nodes one by one from the top, and pages concurrently, each into its own
// value. Once all pages are read, it computes the nodes from the bottom up.
type folding[T any] struct {
	*Fold[T]
	m     *Map
	pages *errgroup.Group
	nodes []foldedNode[T] // each after those below it
}

type foldedNode[T any] struct {
	Subtree
	value    *T
	children []foldedChild[T]
}

type foldedChild[T any] struct {
	index int
	value *T
}

// walk visits the subtree of one node or page. It returns where the value will be stored; nil if there is none.
func (w *folding[T]) walk(ctx context.Context, level int, at int64, id chunk.ID) (*T, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if id.IsZero() {
		return nil, nil
	}
	if !w.m.Has(level, at) {
		return w.beyond()
	}
	if !w.m.Touches(level, at) {
		return nil, nil
	}
	s, value := w.m.Subtree(level, at, id), new(T)
	if w.m.Covers(level, at) {
		if v, ok := w.known[s]; ok {
			return v, nil
		}
		w.known[s] = value
	}
	if w.Enter != nil {
		if v, ok := w.Enter(s); ok {
			*value = v
			return value, nil
		}
	}
	if level > 0 {
		return value, w.node(ctx, s, at, value)
	}
	if !w.AllCores {
		return value, w.page(ctx, s, at, value)
	}
	w.pages.Go(func() error { return w.page(ctx, s, at, value) })
	return value, nil
}

func (w *folding[T]) beyond() (*T, error) {
	if w.Beyond == nil {
		return nil, ErrBeyond
	}
	v, err := w.Beyond()
	return &v, err
}

func (w *folding[T]) page(ctx context.Context, s Subtree, at int64, value *T) (err error) {
	pieces, err := w.m.Page(ctx, at, s.ID)
	if err != nil {
		return w.unreadable(ctx, s, err, value)
	}
	*value, err = w.Page(ctx, w.m, at, pieces)
	return err
}

func (w *folding[T]) node(ctx context.Context, s Subtree, at int64, value *T) error {
	n, err := w.m.Node(ctx, s.Level, s.ID)
	if err != nil {
		return w.unreadable(ctx, s, err, value)
	}
	folded := foldedNode[T]{Subtree: s, value: value}
	for i, id := range n {
		v, err := w.walk(ctx, s.Level-1, at*FanOut+int64(i), id)
		if err != nil {
			return err
		}
		if v != nil && w.Node != nil {
			folded.children = append(folded.children, foldedChild[T]{i, v})
		}
	}
	if w.Node != nil {
		w.nodes = append(w.nodes, folded)
	}
	return nil
}

func (w *folding[T]) unreadable(ctx context.Context, s Subtree, reason error, value *T) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.Unreadable == nil {
		return reason
	}
	*value, err = w.Unreadable(ctx, s, reason)
	return err
}

// combine computes the values of the nodes.
func (w *folding[T]) combine(ctx context.Context) (err error) {
	var below []Below[T]
	for _, n := range w.nodes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		below = below[:0]
		for _, c := range n.children {
			below = append(below, Below[T]{c.index, ChildOffset(n.Level, c.index), *c.value})
		}
		if *n.value, err = w.Node(ctx, n.Subtree, below); err != nil {
			return err
		}
	}
	return nil
}
