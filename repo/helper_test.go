package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// A saved chunk is one that a Write stored.
type saved struct {
	kind chunk.Kind
	id   chunk.ID
	data []byte
}

// noiseChunks returns n chunks of size bytes that do not compress.
func noiseChunks(seed byte, n, size int) [][]byte {
	r := rand.NewChaCha8([32]byte{seed})
	out := make([][]byte, n)
	for i := range out {
		out[i] = make([]byte, size)
		r.Read(out[i]) // never fails
	}
	return out
}

// save writes the chunks, every eighth as a map.
func save(ctx context.Context, r *Repo, chunks [][]byte) (out []saved, stats *Stats, err error) {
	stats, err = r.Write(ctx, func(ctx context.Context, w *Writer) error {
		lane := w.Lane()
		for i, c := range chunks {
			kind, id, err := chunk.Data, chunk.ID{}, error(nil)
			if i%8 == 7 {
				kind = chunk.Map
				id, err = w.SaveMap(ctx, c)
			} else {
				id = lane.Name(c)
				err = lane.Save(ctx, id, c)
			}
			if err != nil {
				return err
			}
			out = append(out, saved{kind, id, c})
		}
		return lane.Close(ctx)
	})
	return out, stats, err
}

func mustSave(t testing.TB, r *Repo, chunks [][]byte) []saved {
	t.Helper()
	out, _, err := save(context.Background(), r, chunks)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// putSnapshot puts a snapshot under a lease of its own.
func putSnapshot(ctx context.Context, r *Repo, json []byte) (id pack.FileID, err error) {
	err = r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		id, err = r.PutSnapshot(ctx, json)
		return err
	})
	return id, err
}

// putIndexFile puts an index file under a lease of its own.
func putIndexFile(t testing.TB, r *Repo, f *index.File) (id pack.FileID) {
	t.Helper()
	err := r.WithLease(context.Background(), BackingUp, func(ctx context.Context) (err error) {
		id, _, err = r.putIndex(ctx, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// everybody reports every holder of a lease as dead, although the process that held it is this one.
func everybody(Lease) bool { return true }

var errWrongBytes = errors.New("wrong bytes")

// loadOne loads one chunk. The error is errWrongBytes if it loads with wrong bytes.
func loadOne(r *Repo, c saved) error {
	calls := 0
	err := r.Load(context.Background(), c.kind, []chunk.ID{c.id}, func(_ int, data []byte) error {
		if calls++; !bytes.Equal(data, c.data) {
			return errWrongBytes
		}
		return nil
	})
	if err == nil && calls != 1 {
		return fmt.Errorf("%w: chunk came %d times", errWrongBytes, calls)
	}
	return err
}

func wantLoads(t testing.TB, r *Repo, chunks []saved) {
	t.Helper()
	for i, c := range chunks {
		if err := loadOne(r, c); err != nil {
			t.Fatalf("chunk %d of %d: %v", i, len(chunks), err)
		}
	}
}

// A sample is a small repository with two files of every kind. It opens with "pw" and with "second".
type sample struct {
	files     map[string][]byte
	chunks    []saved
	snapshots map[pack.FileID][]byte
}

func newSample(t testing.TB) *sample {
	t.Helper()
	ctx := context.Background()
	mem := new(store.Mem)
	settings := DefaultSettings
	settings.FrameSize, settings.PackSize = minFrameSize, MinPackSize
	r, err := Init(ctx, mem, []byte("pw"), cheap, "test", settings)
	if err != nil {
		t.Fatal(err)
	}
	x := &sample{snapshots: map[pack.FileID][]byte{}}
	for seed := range byte(2) {
		x.chunks = append(x.chunks, mustSave(t, r, noiseChunks(seed, 24, 6000))...)
		json := fmt.Appendf(nil, `{"version":%d}`, seed)
		id, err := putSnapshot(ctx, r, json)
		if err != nil {
			t.Fatal(err)
		}
		x.snapshots[id] = json
	}
	if _, err := r.AddSlot(ctx, []byte("second"), cheap, "second"); err != nil {
		t.Fatal(err)
	}
	x.files = storetest.Files(t, mem)
	for _, dir := range []string{layout.Keys, layout.Packs, layout.Index, layout.Snapshots} {
		if n := len(x.in(dir)); n < 2 {
			t.Fatalf("%d files in %s", n, dir)
		}
	}
	return x
}

// in returns the sorted names of the sample's files in a folder.
func (x *sample) in(dir string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(x.files)), func(name string) bool { return layout.Dir(name) != dir })
}

// clone returns a copy whose set of files can be changed. The bytes of each file are shared.
func (x *sample) clone() *sample {
	return &sample{files: maps.Clone(x.files), chunks: x.chunks, snapshots: x.snapshots}
}

// wantWhole fails unless the store holds the whole sample and Check finds nothing.
func (x *sample) wantWhole(t testing.TB, s store.Store) {
	t.Helper()
	r := reopen(t, s)
	wantLoads(t, r, x.chunks)
	for id, want := range x.snapshots {
		if got, err := r.GetSnapshot(context.Background(), id); err != nil || strings.TrimRight(string(got), " ") != string(want) {
			t.Fatalf("snapshot %v: %q, %v", id, got, err)
		}
	}
	report, err := r.Check(context.Background(), CheckOptions{ReadPacks: true, ReadData: true}, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Fatalf("check: %v, %q", err, report.Damage)
	}
}

// heldID returns the file ID of the lease that a Repo holds.
func heldID(r *Repo) pack.FileID {
	id, _, _ := r.leases.Held()
	return id
}
