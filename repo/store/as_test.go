package store_test

import (
	"context"
	"slices"
	"testing"

	"platter/repo/store"
)

// able is a store with every optional capability. It records which were used.
type able struct {
	store.Mem
	used []string
}

func (a *able) GetInto(ctx context.Context, dst []byte, name string, off int64) (int, error) {
	a.used = append(a.used, "fill")
	data, err := a.Get(ctx, name, off, int64(len(dst)))
	return copy(dst, data), err
}

func (a *able) SyncDir(context.Context, string) error {
	a.used = append(a.used, "sync")
	return nil
}

func (a *able) Refresh(context.Context, string) error {
	a.used = append(a.used, "refresh")
	return nil
}

func (a *able) Lag() store.Lag {
	a.used = append(a.used, "lag")
	return store.Lag{}
}

func (a *able) Drop(string) { a.used = append(a.used, "drop") }

func (a *able) Warn(func(string)) { a.used = append(a.used, "warn") }

func (a *able) Close() error {
	a.used = append(a.used, "close")
	return nil
}

// TestCapabilities uses every capability through every decorator, and through both in a row.
func TestCapabilities(t *testing.T) {
	cached := func(s store.Store) store.Store { return store.NewCached(s, t.TempDir(), "index") }
	dry := func(s store.Store) store.Store { return store.DryRun{Store: s} }
	reads := []string{"fill", "lag", "drop", "warn", "close"}
	all := append([]string{"sync", "refresh"}, reads...)
	for _, test := range []struct {
		name     string
		decorate func(store.Store) store.Store
		passed   []string // a dry run syncs and refreshes nothing
	}{
		{"none", func(s store.Store) store.Store { return s }, all},
		{"cached", cached, all},
		{"dry run", dry, reads},
		{"dry run of cached", func(s store.Store) store.Store { return dry(cached(s)) }, reads},
		{"cached of dry run", func(s store.Store) store.Store { return cached(dry(s)) }, reads},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := new(able)
			if err := a.Put(t.Context(), "packs/ab", []byte("data")); err != nil {
				t.Fatal(err)
			}
			s := test.decorate(a)
			if err := store.SyncDir(t.Context(), s, "packs"); err != nil {
				t.Error(err)
			}
			if err := store.Refresh(t.Context(), s, "packs"); err != nil {
				t.Error(err)
			}
			memory := make([]byte, 8)
			got, err := store.GetInto(t.Context(), s, memory, "packs/ab", 1, 8)
			if err != nil || string(got) != "ata" || &got[0] != &memory[0] {
				t.Errorf("GetInto: %q, %v; want it in the caller's memory", got, err)
			}
			if lagging, ok := store.As[store.Lagging](s); ok {
				lagging.Lag()
			}
			store.Drop(s, "packs/ab")
			if warner, ok := store.As[store.Warner](s); ok {
				warner.Warn(nil)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if !slices.Equal(a.used, test.passed) {
				t.Errorf("the store was asked for %q, want %q", a.used, test.passed)
			}
		})
	}
}

// TestGetIntoOfCopies reads what a cache keeps through GetInto: the copy answers.
func TestGetIntoOfCopies(t *testing.T) {
	c := newCounted(t)
	name := nameOf("index", "kept")
	if err := c.Put(t.Context(), name, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	before := c.behind.Ops()
	for _, test := range []struct {
		n    int64
		want string
	}{{2, "ke"}, {4, "kept"}, {9, "kept"}} {
		got, err := store.GetInto(t.Context(), c.Cached, make([]byte, 16), name, 0, test.n)
		if err != nil || string(got) != test.want {
			t.Errorf("%d bytes: %q, %v; want %q", test.n, got, err, test.want)
		}
	}
	if asked := c.behind.Ops() - before; asked != 0 {
		t.Errorf("the store behind was asked %d times", asked)
	}
}

// TestAs finds types through decorators, and nothing that is not there.
func TestAs(t *testing.T) {
	mem := new(store.Mem)
	s := store.DryRun{Store: store.NewCached(mem, t.TempDir(), "index")}
	if c, ok := store.As[*store.Cached](s); !ok || c.Unwrap() != store.Store(mem) {
		t.Error("the cache behind a dry run is not found")
	}
	if m, ok := store.As[*store.Mem](s); !ok || m != mem {
		t.Error("the store behind both is not found")
	}
	if _, ok := store.As[*store.Local](s); ok {
		t.Error("a store is found that is not there")
	}
	if _, ok := store.As[store.Lagging](store.Store(nil)); ok {
		t.Error("no store has a capability")
	}
}
