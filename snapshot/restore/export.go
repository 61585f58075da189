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
	Format   string // one of virtual.Formats except Raw, which ToFile writes
	Compress bool   // if the format can
	Replace  bool   // replace an existing file; it stays as it is until the new one is complete
	Verify   bool   // read the file back as an image and compare its disk with the snapshot

	ForceInUse bool // replace a file although programs have it open or locked

	Unfinished *Unfinished // nil for none
}

// packedFormat is the format that is always compressed.
const packedFormat = "vmdk"

// Exported counts what Export did, in bytes.
type Exported struct {
	File     int64 // length of the file
	Verified int64 // of chunks, read back
	Unsynced bool  // the file system has no sync: a power cut may destroy part of the file
}

// Export writes a part of the snapshot's disk to a new file as an image of the given format. The file gets its name
// only when it is completely written, verified if requested, and durable. On failure nothing remains.
func Export(ctx context.Context, r Repository, s *snapshot.Snapshot, part snapshot.Part, path string, o ExportOptions, p *repo.Progress) (done *Exported, err error) {
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

// ExportStream writes a part of the snapshot's disk to w as an image. The format must be one that can be written front
// to back; to a file, any format works. The error wraps virtual.ErrUnsupported if the format cannot.
func ExportStream(ctx context.Context, r Repository, s *snapshot.Snapshot, part snapshot.Part, w io.Writer, o ExportOptions, p *repo.Progress) error {
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

// verifyImage opens a written image and verifies its disk. It returns the number of bytes of chunks.
func verifyImage(ctx context.Context, r Repository, s *snapshot.Snapshot, part snapshot.Part, path, format string, p *repo.Progress) (n int64, err error) {
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

// A readOnly makes a disk usable as a target that is only compared with a snapshot.
type readOnly struct{ image.Disk }

var _ target = readOnly{}

// Unwrap returns the disk; see image.As.
func (o readOnly) Unwrap() image.Disk { return o.Disk }

func (readOnly) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (readOnly) Zero(int64, int64) error            { return errors.ErrUnsupported }
func (readOnly) DropCache(int64, int64) error       { return errors.ErrUnsupported }
func (readOnly) Sync() error                        { return errors.ErrUnsupported }

// maxPadding is the maximum number of bytes by which a format pads a disk to whole sectors.
const maxPadding = 4095

// An unpadded hides the zeros that a format with whole sectors adds to a disk.
type unpadded struct {
	image.Disk
	size int64 // bytes
}

// Unwrap returns the disk including the padding; see image.As.
func (u *unpadded) Unwrap() image.Disk { return u.Disk }

// Size returns the expected size if the disk is at most maxPadding larger, else the disk's own size.
func (u *unpadded) Size() int64 {
	if all := u.Disk.Size(); all < u.size || all > u.size+maxPadding {
		return all
	}
	return u.size
}

// Extents yields the extents up to Size, in order.
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
