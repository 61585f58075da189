package repo

import (
	"context"

	"platter/chunk"
	"platter/pack"
)

// A Lane saves the chunks of one worker. It is not safe for concurrent use.
type Lane struct {
	w     *Writer
	kind  chunk.Kind
	namer *chunk.Namer
	open  *pack.Open
}

// Lane returns a lane for data. The caller must close it, unless the Write fails anyway.
func (w *Writer) Lane() *Lane { return w.lane(chunk.Data) }

func (w *Writer) lane(kind chunk.Kind) *Lane {
	w.open.Add(1)
	return &Lane{w: w, kind: kind, namer: w.repo.Namer(kind), open: w.emptyFrame(kind)}
}

func (w *Writer) emptyFrame(kind chunk.Kind) *pack.Open {
	if o, ok := w.spare.Get().(*pack.Open); ok {
		o.Reset()
		o.Kind = kind
		return o
	}
	return &pack.Open{Kind: kind, Raw: make([]byte, 0, w.repo.config.FrameSize+w.repo.config.Chunks.Max/4)}
}

// Name returns the ID of a chunk.
func (l *Lane) Name(data []byte) chunk.ID { return l.namer.ID(data) }

// Save stores a chunk that Name named id, unless it is stored already.
func (l *Lane) Save(ctx context.Context, id chunk.ID, data []byte) error {
	if !l.w.repo.view().index.Claim(id) {
		return nil
	}
	return l.store(ctx, id, data)
}

// SaveFrom is Save for a chunk whose bytes are read only if they must be stored.
func (l *Lane) SaveFrom(ctx context.Context, id chunk.ID, read func() ([]byte, error)) error {
	if !l.w.repo.view().index.Claim(id) {
		return nil
	}
	data, err := read()
	if err != nil {
		return err
	}
	return l.store(ctx, id, data)
}

// store adds a chunk to the open frame.
func (l *Lane) store(ctx context.Context, id chunk.ID, data []byte) error {
	l.w.stats.Chunks.Add(1)
	l.w.stats.Raw.Add(int64(len(data)))
	l.open.Add(id, data)
	if int64(len(l.open.Raw)) < l.w.repo.config.FrameSize {
		return nil
	}
	return l.flush(ctx)
}

func (l *Lane) flush(ctx context.Context) error {
	select {
	case l.w.lanes <- l.open:
		l.open = l.w.emptyFrame(l.kind)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close passes on what is left. The lane must not be used again.
func (l *Lane) Close(ctx context.Context) error {
	l.w.open.Add(-1)
	l.w.repo.Return(l.kind, l.namer)
	if len(l.open.Chunks) == 0 {
		return nil
	}
	return l.flush(ctx)
}

// SaveMap stores a page or a node of a map. It is safe for concurrent use.
func (w *Writer) SaveMap(ctx context.Context, data []byte) (chunk.ID, error) {
	w.mapsMu.Lock()
	defer w.mapsMu.Unlock()
	id := w.maps.Name(data)
	return id, w.maps.Save(ctx, id, data)
}
