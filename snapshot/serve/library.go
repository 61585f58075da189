// Package serve keeps versions open as disks that other programs read: through a mount, a network block device, or a
// virtual machine. A read on its way down:
//
//	Disk.ReadAtContext     one version, or a part of it            disk.go
//	  readAhead.note       sees that reads follow each other, and   readahead.go
//	    snapshot.Disk.Prefetch  loads what they will read next
//	  snapshot.Disk        finds the chunks in the map
//	    repo.FrameCache    decodes each frame once, for all who wait for it
//
// All versions of a Library share one cache of decoded frames. Errors are not cached: after a failed read, the next one
// asks the store again.
package serve

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"platter/pack"
	"platter/repo"
	"platter/snapshot"
)

// A Repository is the part of a *repo.Repo that a Library needs.
type Repository interface {
	snapshot.Frames
	// Reading runs fn under a lease that keeps the snapshots and their data.
	Reading(ctx context.Context, work repo.Work, snapshots []pack.FileID, fn func(context.Context) error) error
	// CatchUp loads the index again if other processes changed it.
	CatchUp(ctx context.Context) error
}

var _ Repository = (*repo.Repo)(nil)

// Options are the limits of a Library.
type Options struct {
	Memory int64 // of decoded frames, bytes; 0 for DefaultMemory
	Zeros  bool  // unreadable ranges read as zeros; otherwise a read of them is an error
}

// DefaultMemory is the usual limit of decoded frames, in bytes.
const DefaultMemory = 256 << 20

const (
	// linger is how long a version stays open after its last Close, so that a program which opens a file again and again
	// does not put a lease each time.
	linger = 30 * time.Second
	// catchUpEvery is how often the index is compared with the repository's, in which a prune may have moved chunks. Reads
	// find a moved chunk without that, but slowly.
	catchUpEvery = time.Minute
)

// ErrClosed says that a disk or its Library is closed.
var ErrClosed = errors.New("it is closed")

// A Library opens versions. It is safe for concurrent use.
type Library struct {
	repo   Repository
	o      Options
	frames *repo.FrameCache
	ahead  *prefetcher

	ctx   context.Context // of everything that outlasts a call
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	open   map[pack.FileID]*version
	closed bool
}

// New returns a Library over a repository with a loaded index. The caller closes it before the repository. All reads end
// with ctx, too.
func New(ctx context.Context, r Repository, o Options) *Library {
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	l := &Library{repo: r, o: o, frames: r.Frames(o.Memory), open: map[pack.FileID]*version{}}
	l.ctx, l.stop = context.WithCancel(ctx)
	l.ahead = newPrefetcher(l.ctx, o.Memory/2)
	l.tasks.Go(l.catchUp)
	return l
}

// Close ends all reads and releases all leases. Disks that are still open then fail with ErrClosed or the end of their
// context.
func (l *Library) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.ahead.wait()
	l.tasks.Wait()
	return nil
}

// catchUp follows changes of the index while versions are open. If the store does not answer, the index stays as it is.
func (l *Library) catchUp() {
	tick := time.NewTicker(catchUpEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		used := len(l.open) > 0
		l.mu.Unlock()
		if used {
			_ = l.repo.CatchUp(l.ctx)
		}
	}
}

// Open opens a version under a lease, so that it is not forgotten while it is open. ctx limits only the opening. The error
// wraps repo.ErrForgotten if the version does not exist any more.
func (l *Library) Open(ctx context.Context, s *snapshot.Snapshot) (*Disk, error) {
	v, err := l.version(s)
	if err != nil {
		return nil, err
	}
	select {
	case <-v.ready:
		if err = v.err; err != nil && l.ctx.Err() != nil {
			err = ErrClosed
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		l.release(v)
		return nil, err
	}
	return &Disk{v: v}, nil
}

// A version is a snapshot that is open, or about to be, or was until a moment ago.
type version struct {
	library *Library
	id      pack.FileID
	ready   chan struct{} // closed once disk or err is set
	disk    *snapshot.Disk
	ahead   *readAhead
	err     error
	end     context.CancelFunc // ends the lease

	users int // guarded by the library's mu
	idle  *time.Timer
}

// version returns a version with one more user. It opens it if it is not open.
func (l *Library) version(s *snapshot.Snapshot) (*version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	v, ok := l.open[s.ID]
	if !ok {
		v = &version{library: l, id: s.ID, ready: make(chan struct{})}
		l.open[s.ID] = v
		var ctx context.Context
		ctx, v.end = context.WithCancel(l.ctx)
		l.tasks.Go(func() { l.hold(ctx, v, s) })
	}
	v.users++
	if v.idle != nil {
		v.idle.Stop()
		v.idle = nil
	}
	return v, nil
}

// hold keeps a version open until ctx ends.
func (l *Library) hold(ctx context.Context, v *version, s *snapshot.Snapshot) {
	opened := false
	err := l.repo.Reading(ctx, repo.Serving, []pack.FileID{s.ID}, func(ctx context.Context) error {
		disk, err := s.OpenOn(l.ctx, l.frames)
		if err != nil {
			return err
		}
		if !l.o.Zeros {
			disk = disk.Strict()
		}
		v.disk, v.ahead = disk, newReadAhead(disk, l.ahead)
		opened = true
		close(v.ready)
		<-ctx.Done()
		return nil
	})
	l.forget(v)
	v.end()
	if !opened {
		v.err = cmp.Or(err, ctx.Err(), ErrClosed)
		close(v.ready)
	}
}

// forget makes the next Open of a version open it again, under a new lease.
func (l *Library) forget(v *version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[v.id] == v {
		delete(l.open, v.id)
	}
}

// release ends one use of a version.
func (l *Library) release(v *version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v.users--; v.users > 0 || l.closed {
		return
	}
	v.idle = time.AfterFunc(linger, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if v.users == 0 && l.open[v.id] == v {
			delete(l.open, v.id)
			v.end()
		}
	})
}
