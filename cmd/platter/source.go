package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/image/virtual"
)

// stdio stands for standard input as a source and for standard output as a target.
const stdio = "-"

// imageOptions say how to read a source that is an image.
type imageOptions struct {
	format, internal string
	followBacking    bool
}

func imageFlags(o *imageOptions) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "format", Usage: "take SOURCE for an image of this `FORMAT`: " + strings.Join(virtual.Formats(), ", "), DefaultText: "what its content is", Destination: &o.format},
		&cli.StringFlag{Name: "internal-snapshot", Usage: "the snapshot with this `NAME` or number inside of SOURCE, and not what is there now (qcow2)", Destination: &o.internal},
		&cli.BoolFlag{Name: "follow-backing", Usage: "read the files that SOURCE is a difference to, wherever it says they are", Destination: &o.followBacking, DisableDefaultText: true},
	}
}

func (o imageOptions) validate(source string) error {
	switch {
	case o.format != "" && !slices.Contains(virtual.Formats(), o.format):
		return usagef("--format %s: want one of %s", o.format, strings.Join(virtual.Formats(), ", "))
	case source == stdio && (o.format != "" && o.format != virtual.Raw || o.internal != "" || o.followBacking):
		return usagef("standard input is read from its first byte to its last, so it can only be a raw disk: give the image file itself")
	}
	return nil
}

// A source is a disk to be read.
type source struct {
	stream *image.Stream // or else:
	disk   image.Disk
	file   *image.File // that the disk was found in
	kind   string
	notes  []string // what there is to say of an image
	io.Closer
}

// openSource opens what is to be kept.
func openSource(ctx context.Context, env *env, path string, o imageOptions) (*source, error) {
	if path == stdio {
		stream, err := image.OpenStream(ctx, env.stdin)
		return &source{stream: stream, kind: "stream", Closer: stream}, err
	}
	return openImage(path, o)
}

// openImage opens an image or a device. Which format an image has is told by its content, never by its name; a device is raw
// unless it is said to hold an image.
func openImage(path string, o imageOptions) (*source, error) {
	file, err := image.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; reading disks takes root, or the group that owns them", err)
	}
	if err != nil {
		return nil, err
	}
	format := o.format
	if format == "" && file.Kind == image.KindRaw {
		if format, err = virtual.Detect(file); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	if format == "" || format == virtual.Raw {
		if o.internal != "" || o.followBacking {
			return nil, errors.Join(usagef("%s is a raw disk: it has no snapshots inside, and no other file that it is a difference to", path), file.Close())
		}
		return &source{disk: file, file: file, kind: file.Kind, Closer: file}, nil
	}
	disk, err := virtual.Open(file, format, virtual.Options{Snapshot: o.internal, FollowBacking: o.followBacking})
	if err != nil {
		return nil, err
	}
	return &source{disk: disk, file: file, kind: format, notes: disk.Notes, Closer: disk}, nil
}

// path is what the snapshot says of where a source was.
func (s *source) path(given string) string {
	if abs, err := filepath.Abs(given); err == nil && s.stream == nil {
		return abs
	}
	return given
}

// keepRaw makes a disk raw again that was raw before and begins like an image now. A guest writes what it likes to the
// beginning of its own disk: believed, it could leave out the rest of it, or put in files that lie beside it.
func (s *source) keepRaw(parent *snapshot.Snapshot, o imageOptions) (was string) {
	if parent == nil || o.format != "" || s.file == nil || s.disk == image.Disk(s.file) || parent.Source.Kind != image.KindRaw {
		return ""
	}
	was, s.disk, s.kind = s.kind, s.file, s.file.Kind
	return was
}

func (s *source) backup(ctx context.Context, r *repo.Repo, parent, version *snapshot.Snapshot, p *repo.Progress) error {
	if s.stream != nil {
		return snapshot.BackupStream(ctx, r, s.stream, parent, version, p)
	}
	return snapshot.Backup(ctx, r, s.disk, parent, version, p)
}
