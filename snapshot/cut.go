package snapshot

import (
	"context"
	"io"

	"platter/chunk"
	"platter/repo"
)

// A regionWorker turns regions into pages. It is not safe for concurrent use.
type regionWorker struct {
	run    *run
	cutter *chunk.Cutter
	lane   *repo.Lane
	buf    []byte
	pieces []piece
	page   []byte

	old trail
	at  int64 // where in the region the next piece starts
}

// readAhead is how much of a region a worker holds beyond what the cutter needs, in bytes.
const readAhead = 1 << 20

func (b *run) worker() (*regionWorker, error) {
	cutter, err := b.repo.Cutter()
	if err != nil {
		return nil, err
	}
	return &regionWorker{run: b, cutter: cutter, lane: b.writer.Lane(), buf: make([]byte, cutter.Need()+readAhead)}, nil
}

// region cuts one region, saves what is new, and hangs its page into the tree. before is the region's page in the version
// before, zero for none.
func (w *regionWorker) region(ctx context.Context, region int64, before chunk.ID, src io.Reader) error {
	w.old = trail{}
	if !before.IsZero() {
		if pieces, err := w.run.parent.page(ctx, region, before); err == nil {
			w.old.pieces = pieces
		}
	}
	if err := w.cut(ctx, src); err != nil {
		return err
	}
	if len(w.pieces) == 0 || len(w.pieces) == 1 && w.pieces[0].kind == zeroPiece {
		return nil
	}
	w.page = appendPage(w.page[:0], w.pieces)
	id, err := w.run.writer.SaveMap(ctx, w.page)
	w.run.tree.set(region, id)
	return err
}

// cut reads src to its end and leaves its pieces in w.pieces.
func (w *regionWorker) cut(ctx context.Context, src io.Reader) error {
	w.cutter.Reset()
	w.pieces, w.at = w.pieces[:0], 0
	held, final := w.buf[:0], false // what was read and not yet cut
	for {
		if !final && len(held) < w.cutter.Need() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			have := copy(w.buf, held)
			n, err := io.ReadFull(src, w.buf[have:])
			if final = err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !final {
				return err
			}
			held = w.buf[:have+n]
		}
		if len(held) == 0 {
			return nil
		}
		n, err := w.piece(ctx, held, final)
		if err != nil {
			return err
		}
		held = held[n:]
		w.at += int64(n)
	}
}

// piece adds the piece at the start of held, and returns its length.
func (w *regionWorker) piece(ctx context.Context, held []byte, final bool) (int, error) {
	var id chunk.ID
	named := 0 // so many bytes at the start of held have the name id
	if c, ended, ok := w.old.chunkAt(w.at); ok && w.cutter.Expect(held, final, int(c.len), ended) {
		named = int(c.len)
		if id = w.lane.Name(held[:named]); id == c.id {
			w.cutter.Take(named)
			return named, w.addChunk(ctx, id, held[:named])
		}
	}
	n, zero := w.cutter.Next(held, final)
	if zero {
		w.addZeros(n)
		return n, nil
	}
	if n != named { // a chunk that changed often ends where it ended
		id = w.lane.Name(held[:n])
	}
	return n, w.addChunk(ctx, id, held[:n])
}

func (w *regionWorker) addZeros(n int) {
	if last := len(w.pieces) - 1; last >= 0 && w.pieces[last].kind == zeroPiece {
		w.pieces[last].len += uint32(n)
	} else {
		w.pieces = append(w.pieces, piece{kind: zeroPiece, len: uint32(n)})
	}
}

func (w *regionWorker) addChunk(ctx context.Context, id chunk.ID, data []byte) error {
	w.pieces = append(w.pieces, piece{kind: dataPiece, len: uint32(len(data)), id: id})
	w.run.data.Add(int64(len(data)))
	return w.lane.Save(ctx, id, data)
}
