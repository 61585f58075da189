package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

// An able is a store with every capability. It records the one last used.
type able struct {
	store.Mem
	used   string
	closed int
}

var errUsed = errors.New("it was used")

func (a *able) SyncDir(context.Context, string) error { a.used = "sync"; return errUsed }
func (a *able) Refresh(context.Context, string) error { a.used = "refresh"; return errUsed }
func (a *able) Drop(string)                           { a.used = "drop" }
func (a *able) Lag() store.Lag                        { a.used = "lag"; return store.Lag{Time: time.Minute} }
func (a *able) Warn(func(string))                     { a.used = "warn" }

func (a *able) GetInto(context.Context, []byte, string, int64) (int, error) {
	a.used = "fill"
	return 0, errUsed
}

func (a *able) Sweep(context.Context, time.Time) (int, int64, error) {
	a.used = "sweep"
	return 1, 1, errUsed
}

func (a *able) DropRange(string, int64, int64) bool { a.used = "drop range"; return true }

func (a *able) Close() error { a.closed++; return errUsed }

// decorators returns s, s in each decorator, and s in all of them.
func decorators(t *testing.T, s store.Store) map[string]store.Store {
	blocks := func(s store.Store) store.Store {
		c := blocksOver(t, s, t.TempDir(), 1<<30)
		t.Cleanup(c.Stop)
		return c
	}
	return map[string]store.Store{
		"none":       s,
		"Cached":     store.NewCached(s, t.TempDir(), "index"),
		"BlockCache": blocks(s),
		"DryRun":     store.DryRun{Store: s},
		"Faulty":     &storetest.Faulty{Store: s},
		"all":        store.DryRun{Store: store.NewCached(blocks(&storetest.Faulty{Store: s}), t.TempDir(), "index")},
	}
}

// TestAs checks that each capability of a store is found and used through each decorator, and that a dry run uses none
// that writes.
func TestAs(t *testing.T) {
	for _, capability := range []struct {
		name   string
		writes bool
		use    func(ctx context.Context, s store.Store)
	}{
		{"sync", true, func(ctx context.Context, s store.Store) { _ = store.SyncDir(ctx, s, "index") }},
		{"refresh", true, func(ctx context.Context, s store.Store) { _ = store.Refresh(ctx, s, "index") }},
		{"sweep", true, func(ctx context.Context, s store.Store) {
			if s, ok := store.As[store.Sweeper](s); ok {
				_, _, _ = s.Sweep(ctx, time.Time{})
			}
		}},
		{"drop", false, func(_ context.Context, s store.Store) { store.Drop(s, "packs/ab") }},
		{"drop range", false, func(_ context.Context, s store.Store) { store.DropRange(s, "packs/ab", 0, 8) }},
		{"fill", false, func(ctx context.Context, s store.Store) {
			_, _ = store.GetInto(ctx, s, make([]byte, 8), "keys/ab", 0, 8) // a BlockCache asks for blocks of others
		}},
		{"lag", false, func(_ context.Context, s store.Store) {
			if s, ok := store.As[store.Lagging](s); ok {
				s.Lag()
			}
		}},
		{"warn", false, func(_ context.Context, s store.Store) {
			if s, ok := store.As[store.Warner](s); ok {
				s.Warn(nil)
			}
		}},
	} {
		behind := new(able)
		for name, s := range decorators(t, behind) {
			behind.used = ""
			capability.use(t.Context(), s)
			want := capability.name
			if _, dry := store.As[store.DryRun](s); dry && capability.writes {
				want = ""
			}
			if behind.used != want {
				t.Errorf("%s through %s: used %q, want %q", capability.name, name, behind.used, want)
			}
		}
	}
}

func TestAsOfWhatIsNotThere(t *testing.T) {
	for name, s := range decorators(t, new(store.Mem)) {
		if _, ok := store.As[store.Lagging](s); ok {
			t.Errorf("%s: a Lagging store was found over one that is not", name)
		}
		if _, ok := store.As[*store.Mem](s); !ok {
			t.Errorf("%s: the store itself was not found", name)
		}
	}
	if _, ok := store.As[store.Store](nil); ok {
		t.Error("something was found in no store")
	}
}

// TestCloseReachesTheStore checks that every decorator closes the wrapped store and returns its error.
func TestCloseReachesTheStore(t *testing.T) {
	behind := new(able)
	for name, s := range decorators(t, behind) {
		behind.closed = 0
		if err := s.Close(); !errors.Is(err, errUsed) || behind.closed != 1 {
			t.Errorf("%s: closed the store %d times, %v; want once and its error", name, behind.closed, err)
		}
	}
}

// TestCachedFillsFromItsCopies checks that a read into the caller's memory does not bypass the cache. A read of a file
// without a copy uses that memory too.
func TestCachedFillsFromItsCopies(t *testing.T) {
	behind := &storetest.Faulty{Store: storetest.OpenLocal(t, t.TempDir(), nil)}
	c := store.NewCached(behind, t.TempDir(), "index")
	kept := nameOf("index", "kept")
	for _, name := range []string{kept, "packs/ab"} {
		if err := c.Put(t.Context(), name, []byte("kept")); err != nil {
			t.Fatal(err)
		}
	}
	for name, calls := range map[string]int64{kept: 0, "packs/ab": 1} {
		before, dst := behind.Ops(), make([]byte, 8)
		got, err := store.GetInto(t.Context(), store.DryRun{Store: c}, dst, name, 0, 8)
		if err != nil || string(got) != "kept" || &got[0] != &dst[0] || behind.Ops()-before != calls {
			t.Errorf("%s: %q, %v, after %d calls; want it in the caller's memory after %d", name, got, err, behind.Ops()-before, calls)
		}
	}
}

// TestFaultyFails checks that reads into the caller's memory fail on demand too.
func TestFaultyFails(t *testing.T) {
	f := &storetest.Faulty{Store: storetest.OpenLocal(t, t.TempDir(), nil), Fail: storetest.Nth(1, errUsed)}
	if err := f.Put(t.Context(), "packs/ab", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.GetInto(t.Context(), f, make([]byte, 1), "packs/ab", 0, 1); !errors.Is(err, errUsed) {
		t.Errorf("got %v", err)
	}
}
