package repo

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"platter/index"
	"platter/pack"
	"platter/repo/store"
)

// CheckOptions say how deep Check looks.
type CheckOptions struct {
	ReadPacks bool    // every pack's bytes against its name
	ReadData  bool    // every frame opened, every chunk's id computed again
	Sample    float64 // of the packs are read, chosen by chance; 0 and 1 mean all
}

// A Report is what Check found. Damage is sorted.
type Report struct {
	Damage []string // a sentence each, that begins with the file's name
	Notes  []string // odd, but nothing is lost by it
	Hints  []string // what to do about it

	Slots, Indexes, Packs, Snapshots int   // files looked at
	PackBytes                        int64 // of all packs
	ReadBytes                        int64 // of packs that were read whole
	Parity                           int   // parity files
	ParityBytes                      int64

	badPacks  map[pack.ID]error
	badFrames map[frameKey]error
	badChunks map[badChunk]error
	mendable  map[pack.ID]bool // damaged packs that their parity files can mend
	index     *index.Index
}

// checker is a Check under way.
type checker struct {
	*Repo
	opts     CheckOptions
	progress *Progress
	parity   map[pack.ID]int64 // parity files that are there, with their sizes

	mu     sync.Mutex
	report *Report
}

// damage notes one fault; err's text begins with the file's name.
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

// Advise adds a hint, once.
func (r *Report) Advise(hint string) {
	if !slices.Contains(r.Hints, hint) {
		r.Hints = append(r.Hints, hint)
	}
}

// What Report.Hints may say.
const (
	HintIndex = "run 'platter repair index': it makes new index files from the packs"
	hintCopy  = "a damaged file can be put back from any copy of the repository; 'b3sum' of the right one is its name"
)

// Check looks at every file of the repository but the snapshots, which are not its business: to be checked beside a
// running backup, they must have been listed before. It replaces what LoadIndex loaded by what can be read, from the store
// itself: this Repo uses no cache from then on. It fails only where it cannot go on; damage goes into the report.
func (r *Repo) Check(ctx context.Context, o CheckOptions, p *Progress) (*Report, error) {
	r.dropCache()
	c := &checker{Repo: r, opts: o, progress: p, parity: map[pack.ID]int64{}, report: &Report{
		badPacks: map[pack.ID]error{}, badFrames: map[frameKey]error{}, badChunks: map[badChunk]error{}, mendable: map[pack.ID]bool{}}}
	if err := c.slots(ctx); err != nil {
		return nil, err
	}
	r.index = new(index.Index)
	c.report.index = r.index
	tables, err := c.indexes(ctx)
	if err != nil {
		return nil, err
	}
	there, err := c.files(ctx) // after the index, so that every pack it lists must be there
	if err != nil {
		return nil, err
	}
	for _, p := range tables {
		size, ok := there[p.ID]
		p.Gone = !ok || size != p.Size
		c.index.AddPack(p.Pack, p.Table)
	}
	if err := c.packs(ctx, there, tables); err != nil {
		return nil, err
	}
	c.countParity(there)
	c.report.tellMendable()
	slices.Sort(c.report.Damage)
	slices.Sort(c.report.Notes)
	return c.report, nil
}

func (c *checker) slots(ctx context.Context) error {
	slots, bad, err := c.Slots(ctx)
	if err != nil {
		return err
	}
	c.report.Slots = len(slots) + len(bad)
	for _, err := range bad {
		c.damage(err)
		c.hint("a damaged key opens nothing; remove it with 'key remove' and add that password again")
	}
	return nil
}

// leftovers is a store that can name the temporary files that crashes left behind.
type leftovers interface {
	Leftovers(ctx context.Context) iter.Seq2[store.Info, error]
}

// files counts the store's files, names those that do not belong, and returns the packs' sizes.
func (c *checker) files(ctx context.Context) (map[pack.ID]int64, error) {
	packs := map[pack.ID]int64{}
	for f, err := range c.store.List(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("list files: %w", err)
		}
		dir := dirOf(f.Name)
		id, ok := idFromName(dir, f)
		switch {
		case f.Name == configName && !f.Odd:
		case ok && dir == packsDir:
			packs[id] = f.Size
			c.report.Packs++
			c.report.PackBytes += f.Size
		case ok && (dir == keysDir || dir == indexDir):
		case ok && dir == snapshotsDir:
			c.report.Snapshots++
		case c.isParity(f):
		default:
			c.report.Notes = append(c.report.Notes, fmt.Sprintf("%q is no file of the repository; it is not read", f.Name))
		}
	}
	if s, ok := c.store.(leftovers); ok {
		for f, err := range s.Leftovers(ctx) {
			if err != nil {
				return nil, fmt.Errorf("list files: %w", err)
			}
			c.report.Notes = append(c.report.Notes, fmt.Sprintf("%q was left behind by a write that did not end; when no backup is running it may be deleted", f.Name))
		}
	}
	return packs, nil
}

// indexes reads every index file, and returns the tables of the packs they list.
func (c *checker) indexes(ctx context.Context) (map[pack.ID]index.PackTable, error) {
	files, err := list(ctx, c.store, indexDir)
	if err != nil {
		return nil, err
	}
	c.report.Indexes = len(files)
	read, superseded := map[pack.ID]*index.File{}, map[pack.ID]bool{}
	for _, f := range files {
		decoded, err := c.readIndex(ctx, f.id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			c.damage(err)
			c.hint(HintIndex)
			continue
		}
		read[f.id] = decoded
		for _, old := range decoded.Supersedes {
			superseded[old] = true
		}
	}
	tables := map[pack.ID]index.PackTable{}
	for id, f := range read {
		for _, p := range f.Packs {
			if !superseded[id] {
				tables[p.ID] = p
			}
		}
	}
	return tables, nil
}
