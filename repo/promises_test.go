package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"testing"

	"platter/chunk"
	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/store"
)

// A fact is the promised state of a password or a snapshot.
type fact int

const (
	kept     fact = iota + 1 // it is there
	doubtful                 // the call that makes it or takes it away has not returned
	dropped                  // it is not there
)

// facts are what a repository has promised so far. They are replaced, never changed, so that a test can keep them.
type facts struct {
	made      bool // the repository exists
	passwords map[string]fact
	snapshots map[pack.FileID]fact
	chunks    []saved // chunks that load, whether a snapshot needs them or not
}

// promises are the current facts, and all that was ever tried.
type promises struct {
	mu    sync.Mutex
	facts *facts
	tried map[chunk.ID]saved
}

func newPromises() *promises { return &promises{facts: new(facts), tried: map[chunk.ID]saved{}} }

func (p *promises) now() *facts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.facts
}

func (p *promises) change(fn func(f *facts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := *p.facts
	f.passwords, f.snapshots, f.chunks = maps.Clone(f.passwords), maps.Clone(f.snapshots), slices.Clip(f.chunks)
	if f.passwords == nil {
		f.passwords, f.snapshots = map[string]fact{}, map[pack.FileID]fact{}
	}
	fn(&f)
	p.facts = &f
}

func (p *promises) password(password string, is fact) {
	p.change(func(f *facts) { f.passwords[password] = is })
}

func (p *promises) snapshot(id pack.FileID, is fact) {
	p.change(func(f *facts) { f.snapshots[id] = is })
}

func (p *promises) chunks(chunks []saved) {
	p.change(func(f *facts) { f.chunks = append(f.chunks, chunks...) })
}

// try records chunks that a program saves, whether it succeeds or not.
func (p *promises) try(chunks []saved) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range chunks {
		p.tried[c.id] = c
	}
}

// since returns promises that continue from given facts.
func (p *promises) since(f *facts) *promises {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &promises{facts: f, tried: maps.Clone(p.tried)}
}

// A trial is a repository in a store, and what it has promised.
type trial struct {
	testing.TB
	*promises
	store store.Store
}

// unlock opens the repository with a password that opens it. It loads no index.
func (x *trial) unlock() (*Repo, error) {
	var errs []error
	for _, password := range slices.Sorted(maps.Keys(x.now().passwords)) {
		r, err := Open(context.Background(), x.store, []byte(password))
		if errs = append(errs, err); err == nil {
			r.SetWorkers(1)      // so that calls come in the same order every time
			r.isDead = everybody // the dead holders of leases were this very process, which is alive
			return r, nil
		}
	}
	return nil, errors.Join(errs...)
}

// open opens the repository, and sets a small size for new packs.
func (x *trial) open() (*Repo, error) {
	r, err := x.unlock()
	if err != nil {
		return nil, err
	}
	return r, loadSmall(r)
}

func loadSmall(r *Repo) error {
	// Or else a config that says so would be stored.
	if slices.Contains(r.config.WriteFeatures, Leases) && r.lost == nil {
		r.config.FrameSize, r.config.PackSize = minFrameSize, 2*minFrameSize
	}
	r.SetCompression(pack.CompressOff)
	return r.LoadIndex(context.Background())
}

// backup does what a backup does, with chunks of its own only.
func (x *trial) backup(seed byte, n int) error { return x.backupOf(noiseChunks(seed, n, 5000)) }

func (x *trial) backupOf(data [][]byte) error {
	r, err := x.open()
	if err != nil {
		return err
	}
	return r.WithLease(context.Background(), BackingUp, func(ctx context.Context) error {
		if _, err := r.Adopt(ctx); err != nil {
			return err
		}
		chunks, _, err := save(ctx, r, data)
		if x.try(chunks); err != nil {
			return err
		}
		x.chunks(chunks)
		id, err := r.PutSnapshot(ctx, snapshotOf(chunks))
		if err == nil {
			x.snapshot(id, kept)
		}
		return err
	})
}

// snapshotOf returns the JSON of a snapshot that names the chunks it needs.
func snapshotOf(chunks []saved) []byte {
	needs := make([]string, len(chunks))
	for i, c := range chunks {
		needs[i] = fmt.Sprintf("%x", c.id[:])
	}
	json, err := json.Marshal(needs)
	if err != nil {
		panic(err)
	}
	return json
}

// needs returns the chunks that a snapshot names.
func (x *trial) needs(snapshot []byte) (chunks []saved, err error) {
	var ids []string
	if err := json.Unmarshal(snapshot, &ids); err != nil {
		return nil, err
	}
	for _, id := range ids {
		parsed, err := pack.ParseFileID(id)
		c, ok := x.tried[chunk.ID(parsed)]
		if err != nil || !ok {
			return nil, fmt.Errorf("it needs a chunk %s that was never saved", id)
		}
		chunks = append(chunks, c)
	}
	return chunks, nil
}

// leftover matches notes about what a power cut may leave: it does no harm, and is no reason to stop.
var leftover = regexp.MustCompile(`^packs (in no index file|that a prune deleted)|^unneeded packs|left over from an interrupted write|^(work|pending)/|^keys/[0-9a-f]{64}\.removing-`)

// verify checks that every promise is kept, and that everything else in the store is whole.
func (x *trial) verify() error {
	r, err := x.verifyPasswords()
	if err != nil {
		return err
	}
	if err := loadSmall(r); err != nil {
		return err
	}
	if err := x.verifySnapshots(r); err != nil {
		return err
	}
	for i, c := range x.now().chunks {
		if err := loadOne(r, c); err != nil {
			return fmt.Errorf("chunk %d of %d: %w", i, len(x.now().chunks), err)
		}
	}
	// The loads above and this cover all that reading packs would.
	report, err := CheckNames(context.Background(), x.store, 1, nil)
	if err != nil || len(report.Damage) > 0 {
		return fmt.Errorf("check without key: %q, %v", report.Damage, err)
	}
	if report, err = r.Check(context.Background(), CheckOptions{}, nil); err != nil || len(report.Damage) > 0 {
		return fmt.Errorf("check: %q, %v", report.Damage, err)
	}
	for _, note := range report.Notes {
		if !leftover.MatchString(note) {
			return fmt.Errorf("check notes %q", note)
		}
	}
	return nil
}

// verifyPasswords returns the repository as one of the passwords opened it.
func (x *trial) verifyPasswords() (opened *Repo, err error) {
	for password, is := range x.now().passwords {
		r, err := Open(context.Background(), x.store, []byte(password))
		wrong := errors.Is(err, crypt.ErrWrongPassword)
		if err != nil && !wrong || is == kept && wrong || is == dropped && err == nil {
			return nil, fmt.Errorf("password %q (fact %d): %w", password, is, err)
		}
		if err == nil {
			r.SetWorkers(1)
			opened = r
		}
	}
	if opened == nil {
		return nil, errors.New("no password opens it any more")
	}
	return opened, nil
}

// verifySnapshots checks all snapshots. Even one that was never reported must load completely.
func (x *trial) verifySnapshots(r *Repo) error {
	ids, err := r.ListSnapshots(context.Background())
	if err != nil {
		return err
	}
	for id, is := range x.now().snapshots {
		if there := slices.Contains(ids, id); there != (is == kept) && is != doubtful {
			return fmt.Errorf("snapshot %v (fact %d) is there: %t", id, is, there)
		}
	}
	for _, id := range ids {
		data, err := r.GetSnapshot(context.Background(), id)
		if err != nil {
			return err
		}
		needs, err := x.needs(data)
		if err != nil {
			return fmt.Errorf("snapshot %v: %w", id, err)
		}
		for _, c := range needs {
			if err := loadOne(r, c); err != nil {
				return fmt.Errorf("snapshot %v: chunk %v: %w", id, c.id, err)
			}
		}
	}
	return nil
}
