package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/image/virtual"
)

// ExportOptions say how Export writes an image.
type ExportOptions struct {
	Format   string // one of virtual.Formats but Raw, which is what ToFile writes
	Compress bool   // where the format can
	Replace  bool   // a file that is there; it stays as it is until the new one is whole
	Verify   bool   // read the file back as an image, and compare the disk in it with the snapshot

	ForceInUse bool // replace a file that programs have open or locked

	Unfinished *Unfinished // nil for none
}

// packedFormat is always compressed.
const packedFormat = "vmdk"

// Exported is what Export did, in bytes.
type Exported struct {
	File     int64 // length of the file
	Verified int64 // of chunks that were read back
	Unsynced bool  // the file system has no sync, so a power cut may take some of the file away
}

// Export writes a part of the snapshot's disk to a new file as an image of some format. Nothing has the file's name until all of it is
// written, verified if so wished, and durable; where it fails, nothing is left of it.
func Export(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part, path string, o ExportOptions, p *repo.Progress) (done *Exported, err error) {
	err = intoNew(path, overwriting{o.Replace, o.ForceInUse}, o.Unfinished, func(f *os.File) (err error) {
		defer func() { err = errors.Join(err, closing(f)) }()
		done = new(Exported)
		if err := ExportStream(ctx, r, s, part, f, o, p); err != nil {
			return err
		}
		err = f.Sync()
		done.Unsynced = lacksSync(err)
		if err != nil && !done.Unsynced {
			return err
		}
		if done.File, err = f.Seek(0, io.SeekEnd); err != nil {
			return err
		}
		if o.Verify {
			done.Verified, err = verifyImage(ctx, r, s, part, f.Name(), o.Format, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("export to %s: %w", path, err)
	}
	return done, nil
}

// ExportStream writes a part of the snapshot's disk to w as an image of a format that can be written from its beginning to its end; to
// a file, any. The error wraps virtual.ErrUnsupported where the format cannot.
func ExportStream(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part, w io.Writer, o ExportOptions, p *repo.Progress) error {
	m, err := contentOf(r, s, part)
	if err != nil {
		return err
	}
	data, err := m.lookAhead(ctx, nil)
	if err != nil {
		return err
	}
	if f, ok := w.(*os.File); ok && !o.Compress && o.Format != packedFormat {
		if err := roomOf(f).lacks(data, data, 0).refusal(); err != nil {
			return err
		}
	}
	out, err := virtual.Create(w, o.Format, part.Len, virtual.CreateOptions{
		Compress: o.Compress,
		Extents:  func() iter.Seq2[image.Extent, error] { return m.Extents(ctx) },
	})
	if err != nil {
		return err
	}
	if err := m.writeStream(ctx, out, p); err != nil {
		return err
	}
	return out.Close()
}

// verifyImage opens an image that was written and proves the disk in it. It returns how many bytes of chunks there are.
func verifyImage(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part, path, format string, p *repo.Progress) (n int64, err error) {
	f, err := image.Open(path)
	if err != nil {
		return 0, err
	}
	disk, err := virtual.Open(f, format, virtual.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closing(disk)) }()
	m, err := contentOf(r, s, part)
	if err != nil {
		return 0, err
	}
	whole := &unpadded{disk, part.Len}
	if size := whole.Size(); size != part.Len {
		return 0, fmt.Errorf("verify: its disk has %d bytes, and %d were written", size, part.Len)
	}
	onto, err := m.seat(ctx, readOnly{whole})
	if err != nil {
		return 0, err
	}
	expect(p, s, part, false)
	done := new(Result)
	v := &verifier{m, onto, done, p, &windows{from: onto}}
	if err := v.all(ctx); err != nil {
		return 0, fmt.Errorf("verify: %w", err)
	}
	return done.Verified.Load(), nil
}

// A readOnly is a disk in the place of a target, to be compared with a snapshot.
type readOnly struct{ image.Disk }

var _ target = readOnly{}

func (readOnly) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (readOnly) Zero(int64, int64) error            { return errors.ErrUnsupported }
func (readOnly) DropCache(int64, int64) error       { return errors.ErrUnsupported }
func (readOnly) Sync() error                        { return errors.ErrUnsupported }

// maxPadding is how many bytes a format may add to a disk to make it a whole number of its sectors.
const maxPadding = 4095

// An unpadded disk is one of a format that keeps whole sectors only, without the zeros behind it.
type unpadded struct {
	image.Disk
	size int64 // bytes
}

// Size returns the size that the disk is meant to have, where it has that much and not much more.
func (u *unpadded) Size() int64 {
	if all := u.Disk.Size(); all < u.size || all > u.size+maxPadding {
		return all
	}
	return u.size
}

// Extents yields the disk in order.
func (u *unpadded) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		size := u.Size()
		for e, err := range u.Disk.Extents() {
			e.Len = min(e.Len, size-e.Off)
			if e.Len > 0 || err != nil {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}
