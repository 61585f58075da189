package backup

import (
	"context"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/diskmap"
)

// A regionWorker turns regions into pages. It is not safe for concurrent use.
type regionWorker struct {
	run    *run
	cutter *chunk.Cutter
	lane   *repo.Lane
	ahead  *ahead
	pieces []diskmap.Piece
	page   []byte

	old trail
	at  int64 // position of the next piece in the region
}

// work cuts everything that a source yields.
func (b *run) work(ctx context.Context, src source) error {
	w, err := b.worker(src)
	if err != nil {
		return err
	}
	return w.ahead.run(ctx, w.regions)
}

func (b *run) worker(src source) (*regionWorker, error) {
	cutter, err := b.repo.Cutter()
	if err != nil {
		return nil, err
	}
	return &regionWorker{run: b, cutter: cutter, lane: b.writer.Lane(), ahead: newAhead(src, cutter.Need())}, nil
}

// regions cuts all regions of the source.
func (w *regionWorker) regions(ctx context.Context) error {
	for {
		job, ok, err := w.ahead.region(ctx)
		if err != nil {
			return err
		}
		if !ok {
			return w.lane.Close(ctx)
		}
		if err := w.region(ctx, job); err != nil {
			return err
		}
	}
}

// region cuts one region, saves new chunks, and adds its page to the tree.
//
// The cutter sees unreadable bytes as zeros. So the chunks around them are those of a disk with zeros there. A chunk or
// zero run that contains some is then split at them. Therefore cuts stay in place if a sector fails. A page depends
// only on the region's bytes and on which of them are readable.
func (w *regionWorker) region(ctx context.Context, job regionJob) error {
	w.old = trail{}
	if !job.before.IsZero() {
		if pieces, err := w.run.parent.Page(ctx, job.region, job.before); err == nil {
			w.old.pieces = pieces
		}
	}
	if err := w.cut(ctx); err != nil {
		return err
	}
	return w.savePage(ctx, job.region)
}

// savePage stores the page of a region, and adds it to the tree. A region of zeros has none.
func (w *regionWorker) savePage(ctx context.Context, region int64) error {
	if len(w.pieces) == 0 || len(w.pieces) == 1 && w.pieces[0].Kind == diskmap.Zeros {
		return nil
	}
	w.page = diskmap.AppendPage(w.page[:0], w.pieces)
	id, err := w.run.saveMap(ctx, w.page)
	w.run.tree.Set(region, id)
	return err
}

// cut stores the pieces of a region in w.pieces.
func (w *regionWorker) cut(ctx context.Context) error {
	w.cutter.Reset()
	w.pieces, w.at = w.pieces[:0], 0
	ring := w.ahead.ring
	for {
		if n, err := w.ahead.skip(ctx); err != nil {
			return err
		} else if n > 0 {
			w.cutter.Skip()
			w.addZeros(n)
			w.at += int64(n)
			continue
		}
		for !w.ahead.final && len(ring.view()) < w.cutter.Need() {
			if err := w.ahead.more(ctx); err != nil {
				return err
			}
		}
		held := ring.view()
		if len(held) == 0 {
			return nil
		}
		n, err := w.piece(ctx, held, w.ahead.final)
		if err != nil {
			return err
		}
		ring.take(n)
		w.at += int64(n)
	}
}

// piece adds the piece at the start of held, and returns its length.
func (w *regionWorker) piece(ctx context.Context, held []byte, final bool) (int, error) {
	var id chunk.ID
	named := 0 // id is the name of the first named bytes of held
	if c, ended, ok := w.old.chunkAt(w.at); ok && w.cutter.Expect(held, final, int(c.Len), ended) {
		named = int(c.Len)
		if id = w.lane.Name(held[:named]); id == c.ID {
			w.cutter.Take(named)
			return named, w.addChunk(ctx, id, held[:named])
		}
	}
	n, zero := w.cutter.Next(held, final)
	if zero {
		w.addZeros(n)
		return n, nil
	}
	if n != named { // a changed chunk often ends where the old one ended
		id = w.lane.Name(held[:n])
	}
	return n, w.addChunk(ctx, id, held[:n])
}

// addChunk adds a chunk at w.at, or its readable parts.
func (w *regionWorker) addChunk(ctx context.Context, id chunk.ID, data []byte) error {
	for at, end := w.at, w.at+int64(len(data)); at < end; {
		well, bad := w.ahead.bad.take(at, end)
		part := data[at-w.at:][:well]
		if len(part) == len(data) {
			return w.save(ctx, id, data)
		}
		if chunk.IsZero(part) {
			w.addRun(diskmap.Zeros, well)
		} else if err := w.save(ctx, w.lane.Name(part), part); err != nil {
			return err
		}
		w.addRun(diskmap.Unreadable, bad)
		at += well + bad
	}
	return nil
}

func (w *regionWorker) save(ctx context.Context, id chunk.ID, data []byte) error {
	w.pieces = append(w.pieces, diskmap.Piece{Kind: diskmap.Data, Len: uint32(len(data)), ID: id})
	w.run.data.Add(int64(len(data)))
	if w.run.only != nil && !w.run.only(id) {
		return nil
	}
	return w.lane.Save(ctx, id, data)
}

// addZeros adds n bytes at w.at that are zero or unreadable.
func (w *regionWorker) addZeros(n int) {
	for at, end := w.at, w.at+int64(n); at < end; {
		well, bad := w.ahead.bad.take(at, end)
		w.addRun(diskmap.Zeros, well)
		w.addRun(diskmap.Unreadable, bad)
		at += well + bad
	}
}

// addRun extends the last piece if it has the same kind; otherwise it adds one.
func (w *regionWorker) addRun(kind diskmap.PieceKind, n int64) {
	if n == 0 {
		return
	}
	if kind == diskmap.Unreadable {
		w.run.bad.Add(n)
	}
	if last := len(w.pieces) - 1; last >= 0 && w.pieces[last].Kind == kind {
		w.pieces[last].Len += uint32(n)
	} else {
		w.pieces = append(w.pieces, diskmap.Piece{Kind: kind, Len: uint32(n)})
	}
}
