package restore

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
)

// A spy is a target that records its calls. It can fail calls, or keep other bytes than those written.
type spy struct {
	*fileTarget
	direct bool                                     // keep direct; otherwise every byte goes through the page cache
	before func(call int, p []byte) ([]byte, error) // called at each WriteAt; returns the bytes to write
	late   bool                                     // DropCache is unsupported
	idle   bool                                     // Zero does nothing

	mu     sync.Mutex
	calls  int
	writes []image.Extent
}

func (s *spy) WriteAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	call := s.calls
	s.calls++
	s.writes = append(s.writes, image.Extent{Off: off, Len: int64(len(p))})
	s.mu.Unlock()
	if s.before != nil {
		q, err := s.before(call, p)
		if err != nil {
			return 0, err
		}
		p = q
	}
	return s.fileTarget.WriteAt(p, off)
}

func (s *spy) Zero(off, n int64) error {
	if s.idle {
		return nil
	}
	return writeZeros(s.fileTarget, off, n)
}

func (s *spy) DropCache(off, n int64) error {
	if s.late {
		return errors.ErrUnsupported
	}
	return s.fileTarget.DropCache(off, n)
}

// over restores the snapshot over a file through a spy.
func (s *spy) over(ctx context.Context, t testing.TB, r *repo.Repo, snap *snapshot.Snapshot, path string, o Options) (*Result, error) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if s.fileTarget, err = newFileTarget(f, snap.Size); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.direct && s.fileTarget.direct != nil {
		s.fileTarget.direct.Close()
		s.fileTarget.direct = nil
	}
	done := new(Result)
	filling, err := newFilling(ctx, &content{snap.Map(r), r}, s, o, done, nil)
	if err != nil {
		t.Fatal(err)
	}
	return done, filling.fill(ctx)
}

func newSpy() *spy { return &spy{direct: true} }
