package fuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// maxBackground is how many reads the kernel may have under way for its read-ahead, each of maxRequest at most.
	maxBackground = 32
	// readAhead is how far the kernel reads ahead, in bytes, where root may say so. FUSE itself allows 128 KiB.
	readAhead = 1 << 20
)

// A Server serves a mounted folder until it is unmounted. Its owner calls Close.
type Server struct {
	dir    string // without links
	dev    uint64 // of the mounted file system
	tree   *tree
	cancel context.CancelFunc // ends all calls
	served chan struct{}      // closed when the folder is unmounted and all requests are answered

	mu       sync.Mutex
	detached bool // taken out of sight, maybe in use
}

// Check reports what keeps a folder from being mounted. Mount checks again.
func Check(dir string, opts Options) error {
	_, err := thisSystem().check(dir, opts)
	return err
}

// Mount shows the disks of a catalog in an empty folder. ctx bounds the mounting alone. An error wraps one of the errors
// of this package if the folder or the machine is not as it must be.
func Mount(ctx context.Context, dir string, catalog Catalog, opts Options) (*Server, error) {
	if opts.Name == "" {
		opts.Name = subtype
	}
	if opts.refresh == 0 {
		opts.refresh = defaultRefresh
	}
	dir, err := thisSystem().check(dir, opts)
	if err != nil {
		return nil, err
	}
	fd, err := attach(ctx, dir, opts)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	s, err := serve(fd, dir, catalog, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", dir, err), detach(dir, true))
	}
	return s, nil
}

// serve starts to answer the requests of a connection, which it takes over.
func serve(fd int, dir string, catalog Catalog, opts Options) (*Server, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{dir: dir, cancel: cancel, served: make(chan struct{})}
	s.tree = &tree{
		catalog: catalog, opts: opts, since: time.Now(), ctx: ctx, fd: fd,
		owner:  fuse.Owner{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())},
		inodes: make(map[string]uint64), opened: make(map[*file]io.Closer),
	}
	quiet := log.New(io.Discard, "", 0)
	raw := fs.NewNodeFS(s.tree.root(), &fs.Options{
		Logger:         quiet,
		RootStableAttr: &fs.StableAttr{Ino: fuse.FUSE_ROOT_ID},
	})
	server, err := fuse.NewServer(raw, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{
		MaxWrite: maxRequest, MaxReadAhead: readAhead, MaxBackground: maxBackground,
		DisableXAttrs: true, DisableSplice: true, // what is read is in memory, never in a file
		Logger: quiet, PanicHandler: s.tree.panicked,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(s.served)
		server.Serve()
	}()
	if err := s.settle(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// settle makes the first requests.
func (s *Server) settle() error {
	st, err := stat(s.dir, unix.AT_STATX_DONT_SYNC)
	if err != nil {
		return err
	}
	s.dev = unix.Mkdev(st.Dev_major, st.Dev_minor)
	if err := refusePoll(s.dir); err != nil {
		return err
	}
	// Only root has the right. Reads work without it, in more requests.
	kib := fmt.Appendf(nil, "%d", readAhead>>10)
	_ = os.WriteFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(s.dev), unix.Minor(s.dev)), kib, 0)
	return nil
}

// refusePoll makes the kernel ask once whether a file can be polled. go-fuse says no for the file of this name, and the
// kernel never asks again. Otherwise a Go program that opens files of its own mount could block for ever: the goroutine
// that would answer waits for the one that polls.
func refusePoll(dir string) error {
	fd, err := unix.Open(filepath.Join(dir, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLPRI | unix.POLLOUT}}, 0)
	return err
}

// Wait returns when the folder is unmounted. If ctx ends first, Wait unmounts it. If the folder is in use then, Wait
// takes it out of sight and returns an error that wraps ErrBusy. What is open can still be used. A second Wait returns
// when all is closed. If its ctx ends first, it cuts the folder off, as Close does.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.served:
		return s.Close()
	case <-ctx.Done():
	}
	if s.isDetached() {
		return s.Close()
	}
	err := s.Unmount()
	if errors.Is(err, ErrBusy) {
		err = errors.Join(err, s.hide())
	}
	return err
}

// Unmount unmounts the folder. An error wraps ErrBusy if it is in use; then it stays mounted.
func (s *Server) Unmount() error {
	var patience time.Duration
	if !s.isDetached() {
		patience = time.Second // for the connection to end if others have unmounted the folder
	}
	for wait := 5 * time.Millisecond; s.mounted(); wait *= 2 {
		err := detach(s.dir, false)
		if err == nil {
			patience = never
			break
		}
		if wait > 100*time.Millisecond && s.mounted() { // programs that look at each new folder have left by then
			return fmt.Errorf("unmount %s: %w: %w", s.dir, ErrBusy, err)
		}
		time.Sleep(wait)
	}
	if !s.ends(patience) {
		return fmt.Errorf("unmount %s: it is out of sight, but %w", s.dir, ErrBusy)
	}
	return s.Close()
}

// Close cuts the folder off, in use or not, and waits for all goroutines. After Unmount or Wait have returned nil, it
// does nothing. It returns an error if this system has no way to cut a connection. The connection then ends with the last
// use, or with this process.
func (s *Server) Close() error {
	var hidden, aborted error
	patience := never
	if !s.ends(0) {
		hidden = s.hide()
		if aborted = abort(s.dev); aborted != nil {
			patience = time.Second // if it is not in use, it ends anyway
		}
	}
	s.cancel()
	if !s.ends(patience) {
		return errors.Join(fmt.Errorf("cut off %s: %w", s.dir, aborted), hidden)
	}
	if _, err := stat(s.dir, unix.AT_STATX_FORCE_SYNC); errors.Is(err, unix.ENOTCONN) { // others have cut it off
		hidden = detach(s.dir, true)
	}
	return errors.Join(hidden, s.tree.closeAll())
}

// never is longer than any process runs.
const never = time.Duration(math.MaxInt64)

// ends waits until all requests are answered and no more can come. It reports whether that was so in time.
func (s *Server) ends(patience time.Duration) bool {
	select {
	case <-s.served:
		return true
	default:
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-s.served:
		return true
	case <-timeout.C:
		return false
	}
}

// mounted reports whether the folder still shows this file system.
func (s *Server) mounted() bool {
	if s.isDetached() || s.ends(0) {
		return false
	}
	st, err := stat(s.dir, unix.AT_STATX_DONT_SYNC) // a catalog that hangs must not keep it from being unmounted
	return err == nil && unix.Mkdev(st.Dev_major, st.Dev_minor) == s.dev
}

// hide takes the folder out of sight. What is open in it can still be used.
func (s *Server) hide() error {
	if s.mounted() {
		if err := detach(s.dir, true); err != nil {
			return fmt.Errorf("unmount %s: %w", s.dir, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detached = true
	return nil
}

func (s *Server) isDetached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.detached
}
