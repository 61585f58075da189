package repo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// initStores are stores in which several processes make a repository at once.
func initStores(t *testing.T) map[string]func() store.Store {
	disk := func(noLinks bool) func() store.Store {
		d := storetest.NewDisk()
		d.NoLinks = noLinks
		return func() store.Store { return store.NewLocalOn(d) }
	}
	mem, root := new(store.Mem), t.TempDir()
	return map[string]func() store.Store{
		"memory": func() store.Store { return mem }, "disk": disk(false), "disk without links": disk(true),
		"folder": func() store.Store { return storetest.OpenLocal(t, root, layout.Names{}) },
	}
}

// TestInitAtOnce lets many processes make a repository in one place, each through its own store. Exactly one succeeds,
// its repository works, and nothing is left of the others.
func TestInitAtOnce(t *testing.T) {
	for name, open := range initStores(t) {
		const n = 8
		var errs [n]error
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range n {
			all.Go(func() {
				<-start
				_, errs[i] = Init(t.Context(), open(), fmt.Appendf(nil, "pw%d", i), cheap, "", DefaultSettings)
			})
		}
		close(start)
		all.Wait()
		winner := slices.IndexFunc(errs[:], func(err error) bool { return err == nil })
		if winner < 0 {
			t.Fatalf("%s: no init made it: %v", name, errs)
		}
		for i, err := range errs {
			if i != winner && !errors.Is(err, ErrExists) {
				t.Errorf("%s: %d and %d: %v, want ErrExists", name, winner, i, err)
			}
			r, err := Open(t.Context(), open(), fmt.Appendf(nil, "pw%d", i))
			if i != winner && !errors.Is(err, crypt.ErrWrongPassword) {
				t.Errorf("%s: the password of %d: %v, want ErrWrongPassword", name, i, err)
			} else if i == winner && (err != nil || r.ConfigFault() != nil) {
				t.Errorf("%s: the winner's password: %v", name, err)
			}
		}
		if files := storetest.Files(t, open()); len(files) != 2 {
			t.Errorf("%s: %d files are left, want the config and one key", name, len(files))
		}
	}
}

// between calls do just before an operation of a store.
func between(s store.Store, op string, do func()) store.Store {
	done := false
	return &storetest.Faulty{Store: s, Fail: func(is, _ string) error {
		if is == op && !done {
			done = true
			do()
		}
		return nil
	}}
}

// TestInitOvertaken covers events between an init's key and its config. It checks which repository exists afterwards.
func TestInitOvertaken(t *testing.T) {
	ctx := t.Context()
	t.Run("by another init", func(t *testing.T) {
		mem := new(store.Mem)
		_, err := Init(ctx, between(mem, "create", func() {
			// It began when there was no key yet.
			blind := &storetest.Faulty{Store: new(store.Mem)}
			if _, err := Init(ctx, blind, []byte("first"), cheap, "", DefaultSettings); err != nil {
				t.Error(err)
			}
			for name, data := range storetest.Files(t, blind) {
				if err := mem.Put(ctx, name, data); err != nil {
					t.Error(err)
				}
			}
		}), []byte("second"), cheap, "", DefaultSettings)
		if !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "first") || opens(t, mem, "second") || !opens(t, mem, "first") {
			t.Errorf("%v", err)
		}
	})
	t.Run("by a backup that opened it", func(t *testing.T) { // the backup itself creates the config
		mem := new(store.Mem)
		var chunks []saved
		_, err := Init(ctx, between(mem, "create", func() {
			chunks = mustSave(t, reopen(t, mem), noiseChunks(1, 4, 6000))
		}), []byte("pw"), cheap, "", DefaultSettings)
		if err != nil {
			t.Fatal(err)
		}
		wantLoads(t, reopen(t, mem), chunks)
	})
	t.Run("by another init, after a backup opened it", func(t *testing.T) {
		mem := new(store.Mem)
		_, err := Init(ctx, between(mem, "create", func() {
			r, err := Open(ctx, mem, []byte("pw"))
			if err == nil {
				err = r.LoadIndex(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
			other := storetest.MemOf(t, newSample(t).files)
			if err := mem.Put(ctx, layout.Config, storetest.Files(t, other)[layout.Config]); err != nil {
				t.Fatal(err)
			}
			if _, _, err := save(ctx, r, noiseChunks(1, 4, 6000)); !errors.Is(err, errConfigTaken) {
				t.Errorf("a backup into a repository that will never be: %v", err)
			}
		}), []byte("pw"), cheap, "", DefaultSettings)
		if !errors.Is(err, ErrExists) {
			t.Errorf("%v", err)
		}
	})
}

// TestInitKilled kills an init at every operation. The next init works, or says that there is a repository. Then repair
// config completes that repository.
func TestInitKilled(t *testing.T) {
	ctx := t.Context()
	for i := int64(0); ; i++ {
		mem := new(store.Mem)
		s := &storetest.Faulty{Store: mem, Fail: storetest.After(i, errBroken)}
		_, err := Init(ctx, s, []byte("pw"), cheap, "", DefaultSettings)
		if err == nil {
			return
		}
		if _, err = Init(ctx, mem, []byte("pw"), cheap, "", DefaultSettings); errors.Is(err, ErrExists) {
			r, openErr := Open(ctx, mem, []byte("pw"))
			if openErr != nil {
				t.Fatalf("killed at %d: init says %v, and Open %v", i, err, openErr)
			}
			if _, err = r.RepairConfig(ctx); err != nil {
				t.Errorf("killed at %d: %v", i, err)
			}
		} else if err != nil {
			t.Errorf("killed at %d: %v", i, err)
		}
		chunks := mustSave(t, reopen(t, mem), noiseChunks(1, 4, 6000))
		wantLoads(t, reopen(t, mem), chunks)
	}
}

// TestHalfConfig covers the remains of an init that is killed on a file system without hard links: any prefix of a
// config. They neither destroy a repository nor prevent a new one.
func TestHalfConfig(t *testing.T) {
	ctx := t.Context()
	whole := new(store.Mem)
	testRepo(t, whole)
	for _, size := range []int{0, 1, pack.HeaderSize, 100, 563} {
		mem := storetest.MemOf(t, storetest.Files(t, whole))
		if err := mem.Put(ctx, layout.Config, storetest.Files(t, whole)[layout.Config][:size]); err != nil {
			t.Fatal(err)
		}
		if _, err := Init(ctx, mem, []byte("new"), cheap, "", DefaultSettings); !errors.Is(err, ErrExists) {
			t.Errorf("%d bytes: another init says %v", size, err)
		}
		if _, err := Open(ctx, mem, []byte("new")); !errors.Is(err, crypt.ErrWrongPassword) {
			t.Errorf("%d bytes: %v", size, err)
		}
		r, err := Open(ctx, mem, []byte("pw"))
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if _, err := r.RepairConfig(ctx); err != nil || reopen(t, mem).ConfigFault() != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestLayout checks that Names knows every file and folder of a repository.
func TestLayout(t *testing.T) {
	x := newDamageSample(t)
	names := slices.Collect(func(yield func(string) bool) {
		for name := range x.files {
			if !strings.Contains(name, "/.tmp-") && !yield(name) {
				return
			}
		}
	})
	names = append(names, layout.ConfigCopy, layout.RemovingName(pack.FileID{1}))
	for _, name := range names {
		if !(layout.Names{}).File(name) {
			t.Errorf("%s is none of its files", name)
		}
		for at, c := range name {
			if c == '/' && !(layout.Names{}).Folder(name[:at]) {
				t.Errorf("%s is none of its folders", name[:at])
			}
		}
	}
}
