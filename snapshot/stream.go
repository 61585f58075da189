package snapshot

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"platter/repo"
)

// window is how much of a disk one worker reads at a time for a stream, in bytes.
const window = 4 << 20

// WriteStream writes the snapshot's disk to w from its first byte to its last, zeros and all. Windows of it are read on
// all cores and written in order.
func WriteStream(ctx context.Context, r *repo.Repo, s *Snapshot, w io.Writer, p *repo.Progress) error {
	p.Expect(s.Size)
	g, ctx := errgroup.WithContext(ctx)
	disk, err := s.Open(ctx, r)
	if err != nil {
		return err
	}
	type result struct {
		data []byte
		err  error
	}
	workers := r.Workers()
	order := make(chan chan result, workers) // windows in their order, as many as are read ahead
	spare := make(chan []byte, workers+2)
	g.Go(func() error {
		defer close(order)
		readers, _ := errgroup.WithContext(ctx)
		readers.SetLimit(workers)
		for off := int64(0); off < s.Size && ctx.Err() == nil; off += window {
			out := make(chan result, 1)
			select {
			case order <- out:
			case <-ctx.Done():
				continue
			}
			readers.Go(func() error {
				buf := takeWindow(spare)[:min(window, s.Size-off)]
				_, err := disk.ReadAt(buf, off)
				out <- result{buf, err}
				return nil
			})
		}
		return errors.Join(readers.Wait(), ctx.Err())
	})
	g.Go(func() error {
		for out := range order {
			res := <-out
			if res.err == nil {
				_, res.err = w.Write(res.data)
			}
			if res.err != nil {
				return res.err
			}
			p.Add(int64(len(res.data)))
			select {
			case spare <- res.data[:cap(res.data)]:
			default:
			}
		}
		return nil
	})
	return g.Wait()
}

func takeWindow(spare <-chan []byte) []byte {
	select {
	case buf := <-spare:
		return buf
	default:
		return make([]byte, window)
	}
}
