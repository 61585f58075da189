package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
)

// ErrTargetExists says that a restore would write over something.
var ErrTargetExists = errors.New("it exists already; choose another name, or say --force to replace it")

// RestoreOptions say how Restore treats its target.
type RestoreOptions struct {
	Replace bool // a file that is there; it stays as it is until the new one is whole
	Verify  bool // read the target back and compare it with the snapshot
}

// Restored counts what Restore did, in bytes.
type Restored struct {
	Written  atomic.Int64
	Verified atomic.Int64
}

// Restore writes the snapshot's disk to a new sparse file. Nothing has the target's name until all of it is written,
// verified if so wished, and durable. Where it fails, nothing is left of it. The file is for its owner only: a disk holds
// secrets.
func Restore(ctx context.Context, r *repo.Repo, s *Snapshot, target string, o RestoreOptions, p *repo.Progress) (*Restored, error) {
	if err := checkTarget(target, o.Replace); err != nil {
		return nil, fmt.Errorf("restore to %s: %w", target, err)
	}
	f, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".partial-*")
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", target, err)
	}
	done, err := restoreFile(ctx, r, s, f, o.Verify, p)
	if err == nil {
		err = checkTarget(target, o.Replace) // somebody may have put one there meanwhile
	}
	if err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err == nil {
		err = syncDir(filepath.Dir(target))
	}
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", target, errors.Join(err, removeIfThere(f.Name())))
	}
	return done, nil
}

// removeIfThere removes a file; that it is gone already is no error.
func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// checkTarget returns an error unless target may become a file of ours.
func checkTarget(target string, replace bool) error {
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(target); err == nil {
			return errors.New("it is a link to nothing; remove it, or give the name it points to")
		}
		if _, err := os.Stat(filepath.Dir(target)); err != nil {
			return fmt.Errorf("make its folder first: %w", err)
		}
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("it is a folder; name the file to write in it")
	case info.Mode()&fs.ModeDevice != 0:
		return errors.New("it is a device, and this version restores to files only; " +
			"restore to a file or to - and copy that over, when you are sure which disk it is")
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case !replace:
		return ErrTargetExists
	}
	return nil
}

// restoreFile fills an empty file and closes it.
func restoreFile(ctx context.Context, r *repo.Repo, s *Snapshot, f *os.File, verify bool, p *repo.Progress) (done *Restored, err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	done = new(Restored)
	if err := f.Truncate(s.Size); err != nil {
		return nil, fmt.Errorf("make room for %d bytes: %w", s.Size, err)
	}
	p.Expect(s.Stats.Data)
	if verify {
		p.Expect(s.Stats.Data)
	}
	if err := s.Map(r).writeTo(ctx, f, done, p); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if verify {
		if err := Verify(ctx, r, s, f.Name(), done, p); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
	}
	return done, nil
}

// writeTo writes all that is not zero to a target that reads as zeros, region by region on all cores.
func (m *Map) writeTo(ctx context.Context, w io.WriterAt, done *Restored, p *repo.Progress) error {
	return m.eachRegion(ctx, func(ctx context.Context, reg mapRegion, pieces []piece) error {
		ids, offs := dataOf(reg.index*RegionSize, pieces)
		return m.repo.Load(ctx, chunk.Data, ids, func(at int, data []byte) error {
			if len(data) != int(offs[at].len) {
				return wrongLength(ids[at], len(data), offs[at].len)
			}
			n, err := writeSparse(w, data, offs[at].off)
			done.Written.Add(n)
			p.Add(int64(len(data)))
			return err
		})
	})
}

// eachRegion hands every region that is not all zeros to fn with its pieces, on all cores.
func (m *Map) eachRegion(ctx context.Context, fn func(context.Context, mapRegion, []piece) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(m.repo.Workers())
	var walk error
	for reg, err := range m.regions(gctx) {
		if walk = cmp.Or(err, gctx.Err()); walk != nil {
			break
		}
		g.Go(func() error {
			pieces, err := m.page(gctx, reg.index, reg.page)
			if err != nil {
				return err
			}
			return fn(gctx, reg, pieces)
		})
	}
	// Where a worker failed, the walk was only told to stop: the worker's error is the one to tell.
	return cmp.Or(g.Wait(), ctx.Err(), walk)
}

// A place is where a chunk belongs on a disk.
type place struct {
	off int64
	len uint32
}

// dataOf returns the chunks among pieces, and their places on a disk where the first piece starts at off.
func dataOf(off int64, pieces []piece) (ids []chunk.ID, places []place) {
	for _, q := range pieces {
		if q.kind == dataPiece {
			ids = append(ids, q.id)
			places = append(places, place{off, q.len})
		}
		off += int64(q.len)
	}
	return ids, places
}

// writeSparse writes the blocks of data that are not all zeros, and returns how many bytes those were.
func writeSparse(w io.WriterAt, data []byte, off int64) (written int64, err error) {
	for len(data) > 0 {
		skip := chunk.ZeroPrefix(data)
		if skip < len(data) {
			skip &^= chunk.Block - 1
		}
		data, off = data[skip:], off+int64(skip)
		n := 0
		for n < len(data) {
			end := min(n+chunk.Block, len(data))
			if chunk.IsZero(data[n:end]) {
				break
			}
			n = end
		}
		if n > 0 {
			if _, err := w.WriteAt(data[:n], off); err != nil {
				return written, err
			}
		}
		data, off, written = data[n:], off+int64(n), written+int64(n)
	}
	return written, nil
}
