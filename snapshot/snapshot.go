// Package snapshot stores disks in a repository as maps of chunks, and reads them back.
//
// Its promise: a snapshot that a backup returned is complete and durable. Whether it is read through its map, restored
// or served, it is the disk byte for byte. An error never leaves half a snapshot, or a half-written target under its
// final name.
package snapshot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// version of the snapshot's JSON that this code writes.
const version = 1

// A Snapshot is one version of one disk. Its JSON is the content of its file in the repository; see docs/format.md.
type Snapshot struct {
	ID       pack.FileID  `json:"-"` // the name of the snapshot's file
	Version  int          `json:"version"`
	Time     time.Time    `json:"time"`
	Name     string       `json:"name"`
	Host     string       `json:"host"`
	Disk     string       `json:"disk,omitempty"` // the same in all versions of one disk; see DiskID
	Tags     []string     `json:"tags,omitempty"`
	Note     string       `json:"note,omitempty"`
	Source   Source       `json:"source"`
	Size     int64        `json:"size"`               // bytes
	Root     chunk.ID     `json:"root"`               // of its map; zero for a disk of zeros
	Parent   *pack.FileID `json:"parent,omitempty"`   // the previous version
	Modified bool         `json:"modified,omitempty"` // the source was modified while it was read
	// Unreadable is how many bytes of the disk could not be read, or were lost later. They read as zeros.
	Unreadable int64 `json:"unreadable,omitempty"`
	// Anatomy is what the disk said about itself; nil in versions from before backups recorded it. See ReadAnatomy.
	Anatomy *anatomy.Disk `json:"anatomy,omitempty"`
	Stats   Stats         `json:"stats"`
	Platter string        `json:"platter"` // version of the program
}

// Source is where a disk was read from.
type Source struct {
	Kind string `json:"kind"` // raw, device, stream
	Path string `json:"path"`
	// Place is the path without symbolic links. For a loop device it is the path of the file behind it; for a
	// device-mapper device, the path by its name.
	Place string `json:"place,omitempty"`
	// What a device says about itself, as far as it does.
	Model              string `json:"model,omitempty"`
	Serial             string `json:"serial,omitempty"`
	WWN                string `json:"wwn,omitempty"`
	Partition          int    `json:"partition,omitempty"`            // the partition's number, if it is one
	SectorSize         int64  `json:"sector_size,omitempty"`          // bytes
	PhysicalSectorSize int64  `json:"physical_sector_size,omitempty"` // bytes
}

// TableSector is the sector size, in bytes, in which a partition table usually counts; 0 if unknown. The device that
// holds an image says nothing about the disk in the image.
func (s Source) TableSector() int64 {
	if s.Kind != image.KindDevice {
		return 0
	}
	return s.SectorSize
}

// Stats are what a backup measured, in bytes.
type Stats struct {
	Data   int64 `json:"data"`   // of the disk, without zero runs
	Read   int64 `json:"read"`   // from the source
	New    int64 `json:"new"`    // of chunks that the repository did not have
	Stored int64 `json:"stored"` // growth of the repository's files
	Millis int64 `json:"millis"` // duration
}

// decode reads a snapshot's JSON. The error wraps pack.ErrDamaged or pack.ErrNewer.
func decode(id pack.FileID, data []byte) (*Snapshot, error) {
	var said struct {
		Version    int
		Size, Root *json.RawMessage // without these fields it would be an empty disk, or one of zeros
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return nil, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	if said.Version > version { // its other fields may mean anything
		return nil, fmt.Errorf("%w (snapshot version %d)", pack.ErrNewer, said.Version)
	}
	s := &Snapshot{ID: id}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	switch {
	case said.Size == nil || said.Root == nil:
		return nil, fmt.Errorf("%w: it does not say how large the disk is, or what its map is", pack.ErrDamaged)
	case s.Version < 1 || s.Size < 0:
		return nil, fmt.Errorf("%w: version %d, %d bytes", pack.ErrDamaged, s.Version, s.Size)
	}
	return s, nil
}

// A Putter stores snapshots; a *repo.Repo is one.
type Putter interface {
	// PutSnapshot stores what a snapshot says, durably, and returns its file ID. A lease must be held.
	PutSnapshot(ctx context.Context, plain []byte) (pack.FileID, error)
}

// Save stores the snapshot: the commit point of a backup.
func (s *Snapshot) Save(ctx context.Context, r Putter) error {
	s.Version = version
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	s.ID, err = r.PutSnapshot(ctx, data)
	return err
}

// Map returns the map of the snapshot's disk.
func (s *Snapshot) Map(load diskmap.Loader) *diskmap.Map { return diskmap.New(load, s.Size, s.Root) }

// Files reads the files of snapshots; a *repo.Repo does.
type Files interface {
	// ListSnapshots returns the file IDs of all snapshots, in any order.
	ListSnapshots(ctx context.Context) ([]pack.FileID, error)
	// GetSnapshot returns a snapshot's JSON. The error wraps pack.ErrDamaged if the JSON is not what was stored.
	GetSnapshot(ctx context.Context, id pack.FileID) ([]byte, error)
	// NotForgotten returns the snapshots among ids that no record lists as forgotten.
	NotForgotten(ctx context.Context, ids []pack.FileID) ([]pack.FileID, error)
	// Drop makes the next read of a file come from the store, and from no cache.
	Drop(name string)
	// Workers is the number of cores to use.
	Workers() int
}

// Load reads all snapshots, oldest first. bad has an *Unreadable for each that cannot be read, which names its file.
func Load(ctx context.Context, r Files) (snapshots []*Snapshot, bad []error, err error) {
	ids, err := r.ListSnapshots(ctx)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * r.Workers()) // the files are small, so most of the time is spent waiting for the store
	for _, id := range ids {
		g.Go(func() error {
			s, err := load(gctx, r, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				bad = append(bad, &Unreadable{id, err})
			} else {
				snapshots = append(snapshots, s)
			}
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	found, bad, err := readAgain(ctx, r, bad)
	if err != nil {
		return nil, nil, err
	}
	snapshots = append(snapshots, found...)
	slices.SortFunc(snapshots, byTime)
	return snapshots, bad, nil
}

// LoadNew is Load for a program that loads again and again: It reads only the snapshots that are not among known. Those
// that cannot be read are left out, and tried again the next time.
func LoadNew(ctx context.Context, r Files, known []*Snapshot) ([]*Snapshot, error) {
	ids, err := r.ListSnapshots(ctx)
	if err != nil {
		return nil, err
	}
	have := make(map[pack.FileID]*Snapshot, len(known))
	for _, s := range known {
		have[s.ID] = s
	}
	all := make([]*Snapshot, 0, len(ids))
	for _, id := range ids {
		s := have[id]
		if s == nil {
			if s, err = load(ctx, r, id); ctx.Err() != nil {
				return nil, context.Cause(ctx)
			} else if err != nil {
				continue
			}
		}
		all = append(all, s)
	}
	slices.SortFunc(all, byTime)
	return all, nil
}

// byTime sorts the oldest first. A replacement for a damaged version has the same time, and sorts after it as the newer
// one.
func byTime(a, b *Snapshot) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Unreadable, b.Unreadable), slices.Compare(a.ID[:], b.ID[:]))
}

// readAgain retries snapshots that could not be read, because one failed read of a store is not damage. It drops
// missing ones that a record says were forgotten since the listing. A missing one that was not forgotten is damage.
func readAgain(ctx context.Context, r Files, bad []error) (found []*Snapshot, still []error, err error) {
	var gone []pack.FileID
	for _, err := range bad {
		u, ok := errors.AsType[*Unreadable](err)
		if !ok {
			still = append(still, err)
			continue
		}
		r.Drop(repo.SnapshotName(u.ID))
		s, err := load(ctx, r, u.ID)
		switch {
		case err == nil:
			found = append(found, s)
		case errors.Is(err, fs.ErrNotExist):
			gone = append(gone, u.ID)
		default:
			still = append(still, &Unreadable{u.ID, err})
		}
	}
	missing, err := r.NotForgotten(ctx, gone)
	for _, id := range missing {
		still = append(still, &Unreadable{id, fmt.Errorf("%s: it was listed, is missing when read (%w), and was not forgotten",
			repo.SnapshotName(id), fs.ErrNotExist)})
	}
	return found, still, cmp.Or(err, ctx.Err())
}

// An Unreadable is a snapshot file that exists and cannot be read, and the reason.
type Unreadable struct {
	ID  pack.FileID
	Err error
}

func (u *Unreadable) Error() string { return u.Err.Error() }
func (u *Unreadable) Unwrap() error { return u.Err }

// isMissing reports whether the file is missing after all.
func (u *Unreadable) isMissing() bool { return errors.Is(u.Err, fs.ErrNotExist) }

func load(ctx context.Context, r Files, id pack.FileID) (*Snapshot, error) {
	data, err := r.GetSnapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := decode(id, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", repo.SnapshotName(id), err)
	}
	return s, nil
}
