package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// CheckOptions say how deep Check looks.
type CheckOptions struct {
	ReadPacks bool          // compare every pack's bytes with its name
	ReadData  bool          // open every frame and compute every chunk ID again
	Sample    float64       // the share of the packs' bytes to read, those read longest ago first; 0 and 1 mean all
	Since     time.Duration // skip packs that this machine read within this time; 0 skips none. See UseMemory
	ReadOnly  bool          // write nothing to the repository, not even which packs are damaged
}

// checker is one running Check.
type checker struct {
	repo     *Repo
	opts     CheckOptions
	progress *Progress

	log    *scrubLog // which packs this machine read, and when
	noted  map[pack.FileID]bool
	parity map[pack.FileID]int64 // parity files in the store, with their sizes

	mu              sync.Mutex
	report          *Report
	missingWhenRead map[pack.FileID]bool // packs that were listed, but missing when they were read
	damagedPacks    map[pack.FileID]bool // packs that are present and damaged
	proved          map[pack.FileID]bool // packs that were read whole, opened, and found good
}

// damage reports one fault. err's text begins with the file's name.
func (c *checker) damage(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Damage = append(c.report.Damage, err.Error())
}

func (c *checker) hint(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Advise(s)
}

// Values of Report.Hints.
const (
	HintIndex = "run 'platter repair index': it rebuilds the index files from the packs"
	hintCopy  = "a damaged file can be put back from any copy of the repository; 'b3sum' of the right one is its name"
)

// Check checks every file of the repository except the snapshots, which the caller checks. While a backup may be
// running, the caller must list the snapshots before it calls Check. Check replaces the loaded index with what it can
// read from the store itself; this Repo uses no cache from then on. Check fails only if it cannot go on; damage goes
// into the report.
func (r *Repo) Check(ctx context.Context, o CheckOptions, p *Progress) (*Report, error) {
	r.dropCache()
	c := r.newChecker(o, p)
	c.report.packErrs, c.report.frameErrs, c.report.chunkErrs = map[pack.FileID]error{}, map[frameKey]error{}, map[placeKey]error{}
	c.report.mendable = map[pack.FileID]bool{}
	if err := errors.Join(c.configs(ctx), c.slots(ctx)); err != nil {
		return nil, err
	}
	s, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	c.report.take(s.found)
	c.use(s)
	c.missing(s)
	if err := errors.Join(c.work(ctx, s), c.records(ctx, s), c.verdicts(ctx, s)); err != nil {
		return nil, err
	}
	if err := c.packs(ctx, s); err != nil {
		return nil, err
	}
	if c.log != nil {
		c.report.Forgetful = c.log.err
	}
	if s, err = c.settle(ctx, s); err != nil {
		return nil, err
	}
	c.repo.view().index.Suspend(slices.Collect(maps.Keys(c.damagedPacks)))
	if err := c.noteDamage(ctx, s); err != nil {
		return nil, err
	}
	c.mendMissing(ctx, s)
	c.countParity(s)
	c.report.tellMendable()
	slices.Sort(c.report.Damage)
	slices.Sort(c.report.Notes)
	return c.report, nil
}

func (r *Repo) newChecker(o CheckOptions, p *Progress) *checker {
	return &checker{
		repo: r, opts: o, progress: p, report: new(Report),
		missingWhenRead: map[pack.FileID]bool{}, damagedPacks: map[pack.FileID]bool{}, proved: map[pack.FileID]bool{},
	}
}

// configs checks the current config and its copy.
func (c *checker) configs(ctx context.Context) error {
	for _, name := range []string{layout.Config, layout.ConfigCopy} {
		file, err := readConfigAs(ctx, c.repo.view().store, name)
		if err != nil {
			return err
		}
		if name == layout.ConfigCopy && file.missing() {
			continue
		}
		err = file.fault
		if _, sealed := openConfig(c.repo.configBox(), file.sealed); err == nil && sealed != nil {
			err = fmt.Errorf("%s: %w", name, sealed)
		}
		if err != nil {
			c.damage(err)
			c.hint(HintConfig)
		}
	}
	return nil
}

func (c *checker) slots(ctx context.Context) error {
	slots, bad, err := c.repo.Slots(ctx)
	if err != nil {
		return err
	}
	c.report.Slots = len(slots) + len(bad)
	for _, err := range bad {
		if errors.Is(err, ErrOddSlot) {
			c.report.Slots--
			c.note("%v", err)
			continue
		}
		c.damage(err)
		c.hint("a damaged key opens nothing; remove it with 'key remove' and add that password again")
	}
	return nil
}

// removing reports whether a file is a slot during its removal.
func removing(f store.Info) bool {
	_, ok := layout.ParseRemoving(f)
	return ok
}

// leftovers is a store that can name the temporary files that crashes left behind.
type leftovers interface {
	Leftovers(ctx context.Context) iter.Seq2[store.Info, error]
}

// files counts the store's files, names those that do not belong, and lists the others in s.
func (c *checker) files(ctx context.Context, s *sight) error {
	s.packs, s.parity = map[pack.FileID]int64{}, map[pack.FileID]int64{}
	var odd, left cappedNames
	for f, err := range c.repo.view().store.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list files: %w", err)
		}
		if f.ModTime.After(s.newest) {
			s.newest = f.ModTime
		}
		dir := layout.Dir(f.Name)
		id, ok := layout.ParseID(dir, f)
		switch {
		case (f.Name == layout.Config || f.Name == layout.ConfigCopy) && !f.Odd:
		case ok && dir == layout.Packs:
			s.packs[id] = f.Size
			c.report.Packs++
			c.report.PackBytes += f.Size
		case ok && (dir == layout.Keys || dir == layout.Index || dir == layout.Work):
		case ok && dir == layout.Snapshots:
			c.report.Snapshots++
		case ok && dir == layout.Aside:
			c.report.Aside++
		case removing(f): // Slots reports it
		case s.takeParity(f):
		case ok && dir == layout.Pending:
			s.pending = append(s.pending, id)
		case ok && dir == layout.Forgotten:
			s.records = append(s.records, id)
		case ok && dir == layout.Verdicts:
			s.verdicts = append(s.verdicts, id)
		default:
			odd.add(f.Name)
		}
	}
	for _, size := range s.parity {
		c.report.Parity, c.report.ParityBytes = c.report.Parity+1, c.report.ParityBytes+size
	}
	if s, ok := c.repo.view().store.(leftovers); ok {
		for f, err := range s.Leftovers(ctx) {
			if err != nil {
				return fmt.Errorf("list files: %w", err)
			}
			left.add(f.Name)
		}
	}
	c.report.Odd, c.report.Leftover = odd.count, left.count
	c.report.Notes = slices.Concat(c.report.Notes, odd.notes("%q is not a file of the repository, and is ignored"),
		left.notes("%q is left over from an interrupted write; it may be deleted when no backup is running"))
	return nil
}

// indexes reads every index file and returns the tables of the listed packs. If an index file is missing when it is
// read, indexes returns an error; if last is set, it reports damage instead.
func (c *checker) indexes(ctx context.Context, last bool) (map[pack.FileID]index.PackTable, error) {
	files, err := layout.List(ctx, c.repo.view().store, layout.Index)
	if err != nil {
		return nil, err
	}
	c.report.Indexes = len(files)
	read, superseded := map[pack.FileID]*index.File{}, map[pack.FileID]bool{}
	for _, f := range files {
		decoded, err := c.repo.readIndex(ctx, f.ID)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if layout.IsMissing(err) && !last {
			return nil, err
		}
		if err != nil {
			c.damage(err)
			c.hint(HintIndex)
			continue
		}
		read[f.ID] = decoded
		for _, old := range decoded.Supersedes {
			superseded[old] = true
		}
	}
	tables := map[pack.FileID]index.PackTable{}
	for id, f := range read {
		for _, p := range f.Packs {
			if !superseded[id] {
				tables[p.ID] = p
			}
		}
	}
	return tables, nil
}
