package main

import (
	"cmp"
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
	"platter/snapshot/backup"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/image/nbd"
	"platter/snapshot/image/virtual"
)

// stdio is the argument for standard input as a source and for standard output as a target.
const stdio = "-"

// imageOptions say how to read a source that is an image.
type imageOptions struct {
	format, internal string
	followBacking    bool
	forceInUse       bool
}

func imageFlags(o *imageOptions) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "format", Usage: "read SOURCE as an image of this `FORMAT`: " + strings.Join(virtual.Formats(), ", "), DefaultText: "detected by content", Destination: &o.format},
		&cli.StringFlag{Name: "internal-snapshot", Usage: "read the snapshot with this `NAME` or number inside SOURCE instead of its current state (qcow2)", Destination: &o.internal},
		&cli.BoolFlag{Name: "follow-backing", Usage: "read the backing files of SOURCE, wherever it says they are", Destination: &o.followBacking, DisableDefaultText: true},
		&cli.BoolFlag{Name: "force-in-use", Usage: "read SOURCE although a program has it open for writing; the version is marked as a mixture", Destination: &o.forceInUse, DisableDefaultText: true},
	}
}

func (o imageOptions) validate(source string) error {
	switch {
	case o.format != "" && !slices.Contains(virtual.Formats(), o.format):
		return usagef("--format %s: it must be one of %s", o.format, strings.Join(virtual.Formats(), ", "))
	case nbd.IsURI(source) && (o.format != "" && o.format != virtual.Raw || o.internal != "" || o.followBacking):
		return usagef("an NBD export is a raw disk: have the NBD server open the image, as qemu-nbd does")
	case nbd.IsURI(source) && o.forceInUse:
		return usagef("--force-in-use is for files and devices: which programs write to an NBD export is not known")
	case source == stdio && (o.format != "" && o.format != virtual.Raw || o.internal != "" || o.followBacking):
		return usagef("standard input is read once, from start to end, so it can only be a raw disk: give the image file itself")
	}
	return nil
}

// A source is a disk to be read.
type source struct {
	path   string  // as the user gave it
	stream *stream // or else:
	disk   image.Disk
	file   *image.File // that the disk was found in
	device image.Identity
	kind   string
	notes  []string    // remarks on an image
	uses   []image.Use // programs that write to it
	broken error       // the file begins like an image of that kind but does not open as one; disk is the file itself
	io.Closer

	known    *image.RescueMap
	mapPath  string // the file that known was read from
	retry    image.RetryOptions
	retrying *image.Retrying // the disk, with retries
}

// openSource opens a source, and records in s where it is from.
func openSource(ctx context.Context, env *env, opts backupOptions, path string, s *snapshot.Snapshot) (*source, error) {
	s.Source.Path = absolute(path)
	if path == stdio {
		s.Source.Kind = "stream"
		if opts.command == "" {
			if env.noStdin {
				return nil, errors.New("open stream: standard input is closed; redirect a disk image or a command into it")
			}
			if err := checkInput(env, opts, s); err != nil {
				return nil, err
			}
		}
		return openStream(ctx, env, opts)
	}
	if nbd.IsURI(path) {
		return openNBD(ctx, env, opts, path, s)
	}
	known, err := readRescueMap(opts.failing.rescueMap)
	if err != nil {
		return nil, err
	}
	src, err := openImage(path, opts.image)
	if err != nil {
		return nil, err
	}
	for _, note := range src.notes {
		env.warn(opts.common, "%s: %s", path, note)
	}
	if err := src.checkUse(env, opts, s); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	src.warnOfContainer(env, opts)
	src.known, src.mapPath = known, opts.failing.rescueMap
	src.retry = image.RetryOptions{Strict: opts.failing.strict, Longest: opts.failing.retry}
	if err := src.ready(); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	id := src.file.IdentityIn(env.devices)
	s.Source.Kind = src.kind
	s.Source.Place = cmp.Or(id.Place, resolved(s.Source.Path))
	s.Source.Model, s.Source.Serial, s.Source.WWN, s.Source.Partition = id.Model, id.Serial, id.WWN, id.Partition
	s.Source.SectorSize, s.Source.PhysicalSectorSize = id.SectorSize, id.PhysicalSectorSize
	src.device = id
	return src, nil
}

// openStream opens standard input, or what a command prints.
func openStream(ctx context.Context, env *env, opts backupOptions) (*source, error) {
	var from io.ReadCloser
	var err error
	path := stdio
	if opts.command != "" {
		path = "what the command prints"
		from, err = newCommandStream(ctx, env, opts.command)
	} else {
		from, err = image.OpenStream(ctx, env.stdin)
	}
	if err != nil {
		return nil, err
	}
	s := &stream{ReadCloser: from, want: int64(opts.size)}
	return &source{path: path, stream: s, Closer: s}, nil
}

// ready wraps the disk in one that retries.
func (s *source) ready() (err error) {
	if s.retrying, err = image.NewRetrying(s.disk, s.known, s.retry); err != nil {
		return fmt.Errorf("--rescue-map %s: %w", s.mapPath, err)
	}
	return nil
}

// openImage opens an image or a device. Content decides the format of an image, never its name. A device is raw unless o.format
// says otherwise.
func openImage(path string, o imageOptions) (*source, error) {
	file, err := image.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; run platter as root, or as a member of the group that owns the disk", err)
	}
	if err != nil {
		return nil, err
	}
	if err := o.refuseLocked(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	format := o.format
	if format == "" && file.Kind == image.KindRaw {
		if format, err = virtual.Detect(file); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	if format == "" || format == virtual.Raw {
		if o.internal != "" || o.followBacking {
			return nil, errors.Join(usagef("%s is a raw disk: it has no internal snapshots and no backing files", path), file.Close())
		}
		return &source{path: path, disk: file, file: file, kind: file.Kind, Closer: file}, nil
	}
	disk, err := virtual.Open(file, format, virtual.Options{Snapshot: o.internal, FollowBacking: o.followBacking})
	if err != nil && o.format == "" {
		broken := err
		if file, err = image.Open(path); err != nil {
			return nil, errors.Join(broken, err)
		}
		if virtual.MayBeRaw(file, format, broken) {
			broken = fmt.Errorf("%w (it begins like %s; if it is a raw disk, use --format raw)", broken, format)
		}
		return &source{path: path, disk: file, file: file, kind: format, broken: broken, Closer: file}, nil
	}
	if err != nil {
		return nil, err
	}
	return &source{path: path, disk: disk, file: file, kind: format, notes: disk.Notes, Closer: disk}, nil
}

// absolute is a path or a URI that is valid in any folder.
func absolute(path string) string {
	if path == stdio {
		return path
	}
	if nbd.IsURI(path) {
		if place, err := nbd.Place(path); err == nil {
			return place
		}
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// resolved is an absolute path without symbolic links, if they can be resolved.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// look reads the anatomy of the source.
func (s *source) look(of snapshot.Source) *anatomy.Disk {
	if s.stream != nil {
		return s.stream.look()
	}
	return anatomy.Read(s.retrying, of.TableSector())
}

// checkSize compares the size of a disk with --size. The size of a stream is known only at its end.
func (s *source) checkSize(want int64) error {
	switch {
	case s.stream != nil:
		return nil
	case s.retrying.Size() == 0:
		return fmt.Errorf("%s is empty; nothing was stored", s.path)
	case want > 0 && s.retrying.Size() != want:
		return fmt.Errorf("%s has %d bytes, and --size says %d; nothing was stored", s.path, s.retrying.Size(), want)
	}
	return nil
}

// keepRaw makes a source raw again if it must be stored as the raw disk that it was (see snapshot.KeepsRaw), and returns the kind that
// it seemed to have; "" if it is unchanged. --format overrides it.
func (s *source) keepRaw(parent *snapshot.Snapshot, o imageOptions) (was string, err error) {
	if o.format != "" || s.file == nil || !snapshot.KeepsRaw(parent, s.kind, s.file.Kind) {
		return "", nil
	}
	was, s.disk, s.kind, s.broken = s.kind, s.file, s.file.Kind, nil
	return was, s.ready()
}

func (s *source) backup(ctx context.Context, r *repo.Repo, parent, version *snapshot.Snapshot, p *repo.Progress) error {
	if s.stream != nil {
		return backup.Stream(ctx, r, s.stream, parent, version, p)
	}
	return backup.Disk(ctx, r, s.retrying, parent, version, p)
}

// warnOfUses warns of programs that may write to a device or a raw image during the backup. If that cannot be found out, the backup
// goes on.
func (src *source) warnOfUses(env *env, c common) {
	if src.file == nil || src.kind != src.file.Kind {
		return
	}
	uses, err := src.file.Uses()
	if err != nil {
		env.detail(c, "%v", err)
	}
	var writable []string
	for _, use := range append(uses, src.uses...) {
		if use.Writable {
			writable = append(writable, use.String())
		}
	}
	if len(writable) > 0 {
		env.warn(c, "%s: writes during the backup make the version a mixture of old and new. Back up a snapshot of it (lvcreate -s, zfs snapshot), or "+
			"freeze it (fsfreeze); --before and --after can do and undo that", strings.Join(writable, ", "))
	}
}

// deviceText describes the device of a source.
func deviceText(s snapshot.Source) string {
	var words []string
	for _, w := range [][2]string{{"", s.Model}, {"serial ", s.Serial}, {"WWN ", s.WWN}} {
		if w[1] != "" {
			words = append(words, w[0]+w[1])
		}
	}
	if s.SectorSize > 0 {
		words = append(words, fmt.Sprintf("sectors of %d bytes", s.SectorSize))
	}
	if s.PhysicalSectorSize > s.SectorSize {
		words = append(words, fmt.Sprintf("%d on the medium", s.PhysicalSectorSize))
	}
	return strings.Join(words, ", ")
}
