package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestServeWhileOthersWork has 8 programs read two versions while others forget a version that shares their packs, prune, and
// back up a new one, which appears. The versions that are read cannot be forgotten.
func TestServeWhileOthersWork(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newSite(t)
	size := 24 << 20
	var disks [2][]byte
	source := s.disk("disk", int64(size), 1, "random")
	s.must("backup", source, "--name", "gone")
	for i := range disks { // half of the chunks of the version before it, side by side with others
		for off := i << 18; off < size; off += 1 << 20 {
			scribble(t, source, noise(1<<19, byte(off>>20)+byte(i*50)), int64(off))
		}
		var err error
		if disks[i], err = os.ReadFile(source); err != nil {
			t.Fatal(err)
		}
		s.must("backup", source, "--name", fmt.Sprint("disk", i))
	}

	p, dir := s.mount("", "--memory", "8M")
	stop, first := make(chan struct{}), make(chan struct{}, 8)
	var readers errgroup.Group
	for i := range 8 {
		readers.Go(func() error {
			path := filepath.Join(dir, fmt.Sprint("disk", i%2), "latest", "disk.img")
			return readUntil(path, disks[i%2], uint64(i), first, stop)
		})
	}
	for range 8 {
		select {
		case <-first:
		case <-t.Context().Done():
		}
	}
	held := s.start(nil, "forget", "disk0", "--yes")
	held.ends(11, "is being read by the mount")
	s.must("forget", "gone", "--yes")
	s.must("prune", "--grace", "0s", "--max-unused", "0")
	s.must("backup", s.disk("new", 2<<20, 9, "mixed"), "--name", "new")
	s.must("prune", "--grace", "0s", "--max-unused", "0")
	close(stop)
	if err := readers.Wait(); err != nil {
		t.Error(err)
	}
	shown := filepath.Join(dir, "new", "latest", "disk.img")
	waitFor(t, "the new version", func() bool {
		_, err := os.Stat(shown)
		return err == nil
	})
	if err := sameFiles(s.path("new"), shown); err != nil {
		t.Error(err)
	}
	if strings.Contains(fmt.Sprint(filesIn(t, dir)), "gone") {
		t.Errorf("it still shows %q", filesIn(t, dir))
	}
	s.stop(p, syscall.SIGINT)
	s.sound()
}

// readUntil reads a file past the page cache, from front to back if seed is even, else at random, and compares what it reads.
// It goes on until stop is closed, and for a whole disk's worth after that.
func readUntil(path string, want []byte, seed uint64, first chan<- struct{}, stop <-chan struct{}) (err error) {
	const n = 128 << 10
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		first <- struct{}{}
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	rnd, got, last := rand.New(rand.NewPCG(seed, 3)), make([]byte, n), 0
	for i := 0; last == 0 || i < last; i++ {
		off := i * n % len(want)
		if seed%2 == 1 {
			off = rnd.IntN(len(want)/4096-n/4096) * 4096
		}
		_, err := f.ReadAt(got, int64(off))
		if i == 0 {
			first <- struct{}{}
		}
		if err != nil || !bytes.Equal(got, want[off:off+n]) {
			return fmt.Errorf("reader %d of %s, at %d: other bytes than those of the disk, or %w", seed, path, off, err)
		}
		select {
		case <-stop:
			if last == 0 {
				last = i + len(want)/n
			}
		default:
		}
	}
	return nil
}
