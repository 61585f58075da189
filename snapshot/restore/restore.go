// Package restore writes the disks of snapshots to files, devices and streams, and as images of other formats. From the name of
// a snapshot to bytes on a target:
//
//	snapshot.ReadPart          finds the snapshot, and the part of its disk that a name means
//	ToFile, ToDevice           open the target, or make it under no name yet   restore.go, newfile.go, restore_device.go
//	  content.lookAhead        proves that every chunk can be had, before the first write  preflight.go
//	  filling.fill             writes, syncs, proves                           fill.go
//	    filling.feed           says what the target lacks, region by region:
//	      filling.compareAll   of a new target, all; in place, what differs    inplace.go
//	    repo.Repo.Fetch        opens each frame once, in the order of packs
//	    filling.load           takes the chunks of one frame
//	      target.WriteAt       writes blocks that are not zeros                target.go, target_part.go, target_device.go
//	    filling.proveWritten   drops written regions from the page cache, for
//	      verifier.region      to read back and compare                        verify.go
//	    verifier.zeros         proves that all else is zero
//	ToStream, Export           put the disk together 8 MiB at a time, in order stream.go, export.go
package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"platter/pack"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
)

// ErrTargetExists says that a restore would write over something.
var ErrTargetExists = errors.New("it exists already; choose another name, say --in-place to write what differs into it, or --force to replace it")

// Options say how a restore treats its target.
type Options struct {
	Replace bool // a file that is there; it stays as it is until the new one is whole
	InPlace bool // write into the file that is there, and only what differs; not beside Replace
	Verify  bool // read the target back and compare it with the snapshot

	ForceInUse bool // write to, or replace, a file that programs have open or locked

	Unfinished *Unfinished // of a new file; nil for none

	WipeRest bool // of a device, what lies behind the disk; only for ToDevice

	// cached has every byte go through the page cache. Where bytes could not be read, chunks begin and end within blocks, and
	// what is written past the cache must not lie beside what is written through it: a page may then keep what was before.
	cached bool
}

// Result counts what a restore did, in bytes.
type Result struct {
	Differed atomic.Int64 // chunks that were not there, and were fetched
	Written  atomic.Int64 // blocks of them; those that were right are left out where some of a region was
	Right    atomic.Int64 // chunks that were there already; only in place
	Zeroed   atomic.Int64 // blocks that belong to no chunk, were not zero, and are now; only in place
	Verified atomic.Int64 // chunks

	Unsynced bool // a file's file system has no sync, so a power cut may take some of it away
}

// ToFile writes a part of the snapshot's disk to a file.
//
// A new file is sparse. Nothing has the target's name until all of it is written, verified if so wished, and durable.
// Where it fails, nothing is left of it. ReplaceFile says what becomes of links, and who may read the file.
//
// In place, the file is the disk once ToFile returned nil, and a mixture until then: what is right stays, what differs is
// written, what should be zero becomes a hole. Where it fails, another ToFile goes on from there.
func ToFile(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part, path string, o Options, p *repo.Progress) (*Result, error) {
	write := restoreNew
	if o.InPlace {
		write = restoreInPlace
	}
	o.cached = s.Unreadable > 0
	done := new(Result)
	m, err := contentOf(r, s, part)
	if err == nil {
		expect(p, s, part, o.Verify)
		err = write(ctx, m, path, o, done, p)
	}
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", path, err)
	}
	return done, nil
}

// expect tells how much there is to do. How much of a part holds data is not known beforehand.
func expect(p *repo.Progress, s *snapshot.Snapshot, part snapshot.Part, verify bool) {
	data := min(s.Stats.Data, part.Len)
	p.Expect(data)
	if verify {
		p.Expect(data)
	}
}

func restoreNew(ctx context.Context, m *content, path string, o Options, done *Result, p *repo.Progress) error {
	data, err := m.lookAhead(ctx, nil)
	if err != nil {
		return err
	}
	if err := roomFor(path).lacks(data, m.Length(), 0).refusal(); err != nil {
		return err
	}
	return intoNew(path, overwriting{o.Replace, o.ForceInUse}, o.Unfinished, func(f *os.File) error { return fillFile(ctx, m, f, o, done, p) })
}

func restoreInPlace(ctx context.Context, m *content, path string, o Options, done *Result, p *repo.Progress) error {
	f, err := openInPlace(path, os.O_RDWR, o.ForceInUse)
	if err != nil {
		return err
	}
	if err := m.mayFill(ctx, f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := fillFile(ctx, m, f, o, done, p); err != nil {
		return fmt.Errorf("%w (it is partly written now; the same command goes on from there)", err)
	}
	return nil
}

// mayFill returns an error where it is known before the first write that a file will not become the map's part of the disk.
func (m *content) mayFill(ctx context.Context, f *os.File) error {
	there, err := image.OfFile(f)
	if err != nil {
		return err
	}
	data, err := m.lookAhead(ctx, there)
	if err != nil {
		return err
	}
	room, allocated := roomIn(f)
	return room.lacks(data, m.Length(), allocated).refusal()
}

// openInPlace opens a file that is to be restored in place.
func openInPlace(path string, flag int, forceInUse bool) (*os.File, error) {
	// A name that was mistyped must not become a new disk beside the one that was meant.
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; without --in-place it is made", err)
	}
	if err := checkTarget(path, true); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	err = refuseOwn(f)
	switch {
	case err != nil:
	case flag == os.O_RDONLY:
		err = refuseUsed(f, image.System{}, forceInUse)
	default:
		err = claim(f, image.System{}, forceInUse)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// refuseOwn returns an error for a file of a repository, which may have a second name outside of it.
func refuseOwn(f *os.File) error {
	head := make([]byte, pack.HeaderSize)
	if n, err := f.ReadAt(head, 0); n < len(head) {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if pack.IsFile(head) {
		return errors.New("it is a file of a platter repository")
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
		return errors.New("it is a device that platter does not write to (block devices on Linux are the ones that it does)")
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case !replace:
		return ErrTargetExists
	}
	return nil
}

// fillFile makes f the map's part of the disk and closes it.
func fillFile(ctx context.Context, m *content, f *os.File, o Options, done *Result, p *repo.Progress) (err error) {
	from, to := m.Within()
	t, err := newFileTarget(f, to-from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if o.cached {
		t.broken.Store(true)
	}
	filling, err := newFilling(ctx, m, t, o, done, p)
	if err != nil {
		return err
	}
	err = filling.fill(ctx)
	done.Unsynced = t.unsynced
	return err
}
