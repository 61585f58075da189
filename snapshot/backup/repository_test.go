package backup

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/pack"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// A recorder is a Repository that notes the calls which decide what a power cut leaves, and may fail at the last.
type recorder struct {
	Repository
	calls []string
	fail  error
}

func (r *recorder) WithLease(ctx context.Context, work repo.Work, fn func(context.Context) error) error {
	r.calls = append(r.calls, "lease")
	err := r.Repository.WithLease(ctx, work, fn)
	r.calls = append(r.calls, "lease ends")
	return err
}

func (r *recorder) Write(ctx context.Context, fn func(context.Context, *repo.Writer) error) (*repo.Stats, error) {
	stats, err := r.Repository.Write(ctx, fn)
	r.calls = append(r.calls, "written")
	return stats, err
}

func (r *recorder) PutSnapshot(ctx context.Context, plain []byte) (pack.FileID, error) {
	r.calls = append(r.calls, "commit")
	if r.fail != nil {
		return pack.FileID{}, r.fail
	}
	return r.Repository.PutSnapshot(ctx, plain)
}

// TestOrderOfCalls holds that a backup commits once, after all chunks are written, under one lease. A commit that fails is the
// backup's error.
func TestOrderOfCalls(t *testing.T) {
	disk := snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 9)), 2<<20)
	ways := map[string]func(r Repository, s *snapshot.Snapshot) error{
		"disk": func(r Repository, s *snapshot.Snapshot) error {
			return Disk(t.Context(), r, image.Mem{Data: disk}, nil, s, nil)
		},
		"stream": func(r Repository, s *snapshot.Snapshot) error {
			return Stream(t.Context(), r, bytes.NewReader(disk), nil, s, nil)
		},
	}
	full := errors.New("the store is full")
	for name, keep := range ways {
		for _, fail := range []error{nil, full} {
			inner := snapshottest.Repo(t, new(store.Mem))
			r := &recorder{Repository: inner, fail: fail}
			if err := keep(r, &snapshot.Snapshot{Name: name}); !errors.Is(err, fail) {
				t.Fatalf("%s: %v, want %v", name, err, fail)
			}
			if want := []string{"lease", "written", "commit", "lease ends"}; !slices.Equal(r.calls, want) {
				t.Errorf("%s: %q, want %q", name, r.calls, want)
			}
			all, _, err := snapshot.Load(t.Context(), inner)
			if err != nil || (len(all) == 1) != (fail == nil) {
				t.Errorf("%s: %d snapshots, %v", name, len(all), err)
			}
		}
	}
}
