package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"platter/repo/store"
)

// list returns the entries before the first error.
func list(ctx context.Context, s store.Store, dir string) ([]store.Info, error) {
	var infos []store.Info
	for info, err := range s.List(ctx, dir) {
		if err != nil {
			return infos, err
		}
		info.ModTime = time.Time{} // testModTime tests those
		infos = append(infos, info)
	}
	return infos, nil
}

// wantList fails unless a listing of dir yields exactly want, in any order.
func wantList(t *testing.T, s store.Store, dir string, want ...store.Info) {
	t.Helper()
	got, err := list(t.Context(), s, dir)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	byName := func(a, b store.Info) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(got, byName)
	slices.SortFunc(want, byName)
	if !slices.Equal(got, want) {
		t.Fatalf("List(%q) = %v, want %v", dir, got, want)
	}
}

func testList(t *testing.T, s store.Store) {
	wantList(t, s, "")
	wantList(t, s, "pack")
	infos := make(map[string]store.Info)
	for i, name := range []string{"config", "pack/a", "pack/b/c", "pack/b/d/e", "packs/a", "pack.x/a", "pack-x", "b/pack/a"} {
		infos[name] = store.Info{Name: name, Size: int64(i)}
		put(t, s, name, make([]byte, i))
	}
	for _, test := range []struct {
		dir   string
		below []string
	}{
		{"", []string{"config", "pack/a", "pack/b/c", "pack/b/d/e", "packs/a", "pack.x/a", "pack-x", "b/pack/a"}},
		{"pack", []string{"pack/a", "pack/b/c", "pack/b/d/e"}},
		{"pack/b", []string{"pack/b/c", "pack/b/d/e"}},
		{"pack/b/d", []string{"pack/b/d/e"}},
		{"packs", []string{"packs/a"}},
		{"b", []string{"b/pack/a"}},
		{"pac", nil},
		{"none", nil},
		{"none/at/all", nil},
		{"pack/none", nil},
	} {
		var want []store.Info
		for _, name := range test.below {
			want = append(want, infos[name])
		}
		wantList(t, s, test.dir, want...)
	}
}

func testListBreaksOff(t *testing.T, s store.Store) {
	for i := range 20 {
		put(t, s, fmt.Sprintf("%d/%d", i%3, i), nil)
	}
	seen := 0
	for _, err := range s.List(t.Context(), "") { // a store that continues after the break panics here
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 5 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen = 0
	var last error
	for _, err := range s.List(ctx, "") {
		cancel()
		seen++
		last = err
	}
	if seen != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("a listing cancelled after one file yielded %d times, at last %v; want its context's error next", seen, last)
	}
}

// testListWhileChanging lists while other goroutines put and delete, and the lister itself deletes. Every file that
// stays is listed once, nothing fails, and no file appears that never existed.
func testListWhileChanging(t *testing.T, s store.Store) {
	const stay = 60
	for i := range stay {
		put(t, s, fmt.Sprintf("stay/%d", i), []byte("x"))
		put(t, s, fmt.Sprintf("go/%d", i), []byte("x"))
	}
	listed := make(chan struct{})
	var changers sync.WaitGroup
	for c := range 2 {
		changers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-listed:
					return
				default:
				}
				for _, folder := range []string{"stay", fmt.Sprintf("new%d", i%5)} {
					name := fmt.Sprintf("%s/c%d", folder, c)
					if err := s.Put(t.Context(), name, []byte("x")); err != nil {
						t.Error(err)
					}
					if err := s.Delete(t.Context(), name); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 10 {
		seen := make(map[string]int)
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Errorf("List beside changes: %v", err)
				break
			}
			seen[info.Name]++
			if info.Odd || info.Size != 1 {
				t.Errorf("List beside changes yields %+v, which was never put", info)
			}
			if strings.HasPrefix(info.Name, "go/") {
				if err := s.Delete(t.Context(), info.Name); err != nil {
					t.Error(err)
				}
			}
		}
		for i := range stay {
			if name := fmt.Sprintf("stay/%d", i); seen[name] != 1 {
				t.Errorf("%s was listed %d times", name, seen[name])
			}
		}
	}
	close(listed)
	changers.Wait()
	after, err := list(t.Context(), s, "")
	if err != nil || len(after) != stay {
		t.Errorf("%d files in the end, %v; want %d", len(after), err, stay)
	}
}
