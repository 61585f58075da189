package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image/gpt"
)

// ToDevice writes a snapshot's disk, or a part of it, onto a device, as fit says. It keeps what is already right,
// writes what differs, and zeroes what must be zero. The rest of the device stays as it is; with WipeRest it becomes
// zero. On return everything is durable, and verified if requested. After a failure, another ToDevice continues from
// there.
func ToDevice(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, fit *Fit, d *Device, o Options, p *repo.Progress) (*Result, error) {
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
			return fmt.Errorf("zero what is behind the disk: %w", err)
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

// wipe zeroes a target from byte off on.
func wipe(ctx context.Context, t target, off int64, verify bool, done *Result) error {
	size := t.Size()
	r := &windowReader{from: t}
	for at := off; at < size; at += windowSize {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := clearRun(t, r, at, min(size, at+windowSize))
		done.Zeroed.Add(n)
		if err != nil {
			return err
		}
	}
	if err := t.Sync(); err != nil {
		return err
	}
	r.data = nil
	for at := off; verify && at < size; at += windowSize {
		n := min(windowSize, size-at)
		data, err := r.view(at, n, at+n)
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if !chunk.IsZero(data) {
			return &MismatchError{at, n}
		}
	}
	return nil
}

// moveTable writes a partition table: first the second copy, which nothing points to yet. It always reads the table
// back: no chunk ID verifies it.
func moveTable(t target, fit *Fit) error {
	for _, writes := range [][]gpt.Write{fit.second, fit.first} {
		for _, w := range writes {
			if _, err := t.WriteAt(w.Data, w.Off); err != nil {
				return err
			}
		}
		if err := t.Sync(); err != nil {
			return err
		}
		for _, w := range writes {
			got := make([]byte, len(w.Data))
			if _, err := t.ReadAt(got, w.Off); err != nil {
				return fmt.Errorf("read back: %w", err)
			}
			if !bytes.Equal(got, w.Data) {
				return &MismatchError{w.Off, int64(len(got))}
			}
		}
	}
	return nil
}
