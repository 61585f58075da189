package snapshot

import (
	"context"
	"math"

	"platter/chunk"
	"platter/index"
	"platter/snapshot/diskmap"
)

// Usage is how much of a repository snapshots use, in bytes.
type Usage struct {
	Size   int64   // of all disks
	Data   int64   // of all disks, without zero runs
	Unique int64   // of the chunks of all disks, each counted once
	Only   []int64 // by snapshot: of chunks, data and map, that no other snapshot uses
}

// Measure walks the maps of all snapshots. It reads a page that several of them share at most twice.
func Measure(ctx context.Context, r Indexed, snapshots []*Snapshot) (*Usage, error) {
	u := &usage{owners: r.Index().Values(), total: &Usage{Only: make([]int64, len(snapshots))}}
	for i, s := range snapshots {
		u.total.Size += s.Size
		u.total.Data += s.Stats.Data
		u.current = uint32(i + 1)
		m := s.Map(r)
		// Each map gets a new fold. A second snapshot must walk what it shares with the first, because own then makes
		// it shared.
		fold := diskmap.Fold[struct{}]{Enter: u.enter, Page: u.page}
		if _, err := fold.Of(ctx, m); err != nil {
			return nil, err
		}
	}
	return u.total, nil
}

type usage struct {
	owners  *index.Values // by chunk: the snapshot that uses it, counted from 1, or shared
	current uint32
	total   *Usage
}

// shared is the owner of a chunk that several snapshots use.
const shared = math.MaxUint32

// own counts a chunk for the current snapshot, and reports whether to walk the subtree below it. It need not be walked
// if this snapshot has counted it already. Nor if several snapshots are known to share it: then they share everything
// below it, too.
func (u *usage) own(id chunk.ID, unique *int64) bool {
	owner, size := u.owners.At(id)
	if owner == nil {
		return true // in no index file: reading it will report that
	}
	switch *owner {
	case 0:
		*owner = u.current
		u.total.Only[u.current-1] += int64(size)
		*unique += int64(size)
	case u.current:
		return false
	case shared:
		return false
	default:
		u.total.Only[*owner-1] -= int64(size)
		*owner = shared
	}
	return true
}

func (u *usage) enter(s diskmap.Subtree) (_ struct{}, known bool) {
	var mapBytes int64 // counted for the snapshot, but not as data
	return struct{}{}, !u.own(s.ID, &mapBytes)
}

func (u *usage) page(_ context.Context, _ *diskmap.Map, _ int64, pieces []diskmap.Piece) (_ struct{}, err error) {
	for _, q := range pieces {
		if q.Kind == diskmap.Data {
			u.own(q.ID, &u.total.Unique)
		}
	}
	return struct{}{}, nil
}
