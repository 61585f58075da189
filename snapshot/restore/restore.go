// Package restore writes the disks of snapshots to files, devices and streams, and as images of other formats. From the
// name of a snapshot to bytes on a target, the way leads down through this file and fill.go:
//
//	snapshot.ReadPart            finds the snapshot, and the named part of it
//	ToFile, ToDevice             restore.go: check that every chunk is available, and open the target
//	  fillFile, overwriteDevice  see in it the disk, or the part of the disk, that it will hold
//	    filling.fill             fill.go: writes, syncs, verifies
//	      filling.compareAll     says what each region needs: of a new target all, in place what differs
//	      filling.group          groups regions into batches
//	      repo.Repo.Fetch        opens each frame once, in pack order
//	        batch.Load           takes the chunks of one frame, and writes blocks that are not zeros:
//	          target.WriteAt
//	        batch.Done           drops written regions from the page cache, for
//	      verifier.region        to read back and compare
//	      verifier.zeros         verifies that all else is zero
//
// The leaves, which these two files call:
//
//	preflight.go, room.go        check before the first write that every chunk is available, and that there is room
//	checktarget.go, claim.go     refuse what must not be written to, and what is in use
//	newfile.go, unfinished.go    make a file under a temporary name, and give it its name at the end
//	inplace.go, wipe.go          compare what is there, and zero it
//	target.go, target_part.go,
//	target_device.go             write to a file, a part of a disk, or a device
//	verify.go, window.go         read back
//	movetable.go                 writes a moved partition table
//
// ToStream and Export assemble the disk 8 MiB at a time, in order: stream.go, export.go. What a restore would do: plan.go. How a
// disk goes onto a device of another size: fit.go, grow.go, tables.go.
package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A Repository is the part of a *repo.Repo that a restore needs.
type Repository interface {
	diskmap.Loader // the map
	// Sources says before the first write whether chunks can be read.
	Sources() *repo.Sources
	// Fetch loads batches of chunks until the channel is closed.
	Fetch(ctx context.Context, batches <-chan repo.Batch) error
	// Namer returns a Namer for chunks of a kind, to verify what a target holds. The caller hands it to Return.
	Namer(kind chunk.Kind) *chunk.Namer
	Return(kind chunk.Kind, n *chunk.Namer)
}

var _ Repository = (*repo.Repo)(nil)

// ErrTargetExists says that a restore would write over something.
var ErrTargetExists = errors.New("it exists already; choose another name, say --in-place to write what differs into it, or --force to replace it")

// Options say how a restore treats its target.
type Options struct {
	Replace bool // replace an existing file; it stays as it is until the new one is complete
	InPlace bool // write only what differs into the existing file; excludes Replace
	Verify  bool // read the target back and compare it with the snapshot

	ForceInUse bool // write to, or replace, a file although programs have it open or locked

	Unfinished *Unfinished // tracks the new file; nil for none

	WipeRest bool // zero the rest of a device; only for ToDevice

	// cached makes every byte go through the page cache. Around unreadable bytes, chunks begin and end within blocks. A
	// direct write next to a cached write in the same page is a hazard: the page may keep its old content.
	cached bool
}

// Result counts what a restore did, in bytes.
type Result struct {
	Differed atomic.Int64 // chunks that the target did not have
	Written  atomic.Int64 // blocks of them; without those already right in regions that were partly right
	Right    atomic.Int64 // chunks that the target already had; only in place
	Zeroed   atomic.Int64 // blocks outside all chunks that were not zero; only in place
	Verified atomic.Int64 // chunks

	Unsynced bool // the file's file system has no sync: a power cut may destroy part of the file
}

// ToFile writes a part of the snapshot's disk to a file.
//
// A new file is sparse. It gets its name only when it is completely written, verified if requested, and durable. On
// failure nothing remains. ReplaceFile documents links and permissions.
//
// In place, the file is a mixture until ToFile returns nil; then it is the disk. ToFile keeps what is right, writes
// what differs, and makes holes where the disk is zero. After a failure, another ToFile continues from there.
func ToFile(ctx context.Context, r Repository, s *snapshot.Snapshot, part snapshot.Part, path string, o Options, p *repo.Progress) (*Result, error) {
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

// mayFill checks before the first write that a file can become the map's part of the disk: all chunks are available,
// and they fit.
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

// fillFile writes the map's part of the disk to f and closes it.
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

// ToDevice writes a snapshot's disk, or a part of it, onto a device, as fit says. It keeps what is already right,
// writes what differs, and zeroes what must be zero. The rest of the device stays as it is; with WipeRest it becomes
// zero. On return everything is durable, and verified if requested. After a failure, another ToDevice continues from
// there.
func ToDevice(ctx context.Context, r Repository, s *snapshot.Snapshot, fit *Fit, d *Device, o Options, p *repo.Progress) (*Result, error) {
	o.InPlace, o.cached = true, s.Unreadable > 0
	done := new(Result)
	m, err := contentOf(r, s, fit.Part)
	if err == nil {
		t := newDeviceTarget(d)
		_, err = m.lookAhead(ctx, t)
		err = errors.Join(err, t.Close())
	}
	if err == nil {
		err = d.unused() // the device may have been open for long, waiting for the user's answer
	}
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", d.Path, err)
	}
	expect(p, s, fit.Part, o.Verify)
	if err := overwriteDevice(ctx, m, fit, d, o, done, p); err != nil {
		return nil, fmt.Errorf("restore to %s: %w (it is partly written now; the same command goes on from there)", d.Path, err)
	}
	return done, nil
}

// overwriteDevice makes a device hold the map's part of the disk.
func overwriteDevice(ctx context.Context, m *content, fit *Fit, d *Device, o Options, done *Result, p *repo.Progress) (err error) {
	t := newDeviceTarget(d)
	if o.cached {
		t.broken.Store(true)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	filling, err := newFilling(ctx, m, t, o, done, p)
	if err != nil {
		return err
	}
	if err := filling.fill(ctx); err != nil {
		return err
	}
	if o.WipeRest {
		if err := wipe(ctx, t, fit.Part.Len, o.Verify, done); err != nil {
			return fmt.Errorf("zero what is after the disk: %w", err)
		}
	}
	if fit.Moves() {
		if err := moveTable(t, fit); err != nil {
			return fmt.Errorf("move the partition table: %w", err)
		}
	}
	if !d.IsPartition {
		// The system may still know the old partitions, and would mount what is now in their places.
		if err := rereadTable(d.file); err != nil {
			fit.advise("the system does not know the new partitions yet (%v): see 'blockdev --rereadpt %s'", err, d.Path)
		}
	}
	return nil
}

// expect adds the expected work to p. How much of a part is data is not known in advance, so it assumes the most.
func expect(p *repo.Progress, s *snapshot.Snapshot, part snapshot.Part, verify bool) {
	data := min(s.Stats.Data, part.Len)
	p.Expect(data)
	if verify {
		p.Expect(data)
	}
}
