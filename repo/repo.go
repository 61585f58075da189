// Package repo is a repository: files in a store that hold chunks, and the keys to the files.
//
// Its promise: what Write reported as stored survives a power cut, and every later Open finds it. It loads as exactly
// the bytes that were saved, or as an error that names the damaged file. Package repo knows chunks and files, never
// disks.
package repo

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/crypt"
	"platter/repo/lease"
	"platter/repo/store"
)

var (
	// ErrNoRepository says that a store holds no repository.
	ErrNoRepository = errors.New("there is no repository there")
	// ErrExists says that a store already holds a repository.
	ErrExists = errors.New("there is already a repository there")
)

// Settings are chosen when a repository is made. All but Parity are fixed for its life.
type Settings struct {
	Chunks    chunk.Params `json:"chunks"`
	FrameSize int64        `json:"frame_size"`       // bytes of chunks after which a frame is closed
	PackSize  int64        `json:"pack_size"`        // bytes of frames after which a pack is closed
	Parity    int          `json:"parity,omitempty"` // thousandths of each future pack; 0 for none
}

// DefaultSettings suit disks of any size on a NAS. docs/decisions/ has the measurements.
var DefaultSettings = Settings{Chunks: chunk.ParamsFor(64 << 10), FrameSize: 2 << 20, PackSize: 32 << 20}

// Limits of Settings, in bytes.
const (
	MinPackSize  = 1 << 20
	MaxPackSize  = 512 << 20
	minFrameSize = 16 << 10
	maxFrameSize = 8 << 20
)

// Validate returns an error that names the limit that Settings break.
func (s Settings) Validate() error {
	if s.FrameSize < minFrameSize || s.FrameSize > maxFrameSize {
		return fmt.Errorf("frame size %d: want %d to %d", s.FrameSize, minFrameSize, maxFrameSize)
	}
	if s.PackSize < MinPackSize || s.PackSize > MaxPackSize {
		return fmt.Errorf("pack size %d: want %d to %d", s.PackSize, MinPackSize, MaxPackSize)
	}
	if s.Parity < 0 || s.Parity > parity.MaxShare {
		return fmt.Errorf("parity of %d thousandths: want 0 to %d", s.Parity, parity.MaxShare)
	}
	return s.Chunks.Validate()
}

// A Repo is an open repository. Reading, loading the index and writing are safe for concurrent use: each uses one view
// of store and index from beginning to end. Three kinds of methods are for one goroutine, while no other uses the Repo.
// The Use and Set methods set the Repo up. AddParity, RepairConfig and the first lease in an older repository change
// the config. The third kind changes keys.
type Repo struct {
	changing sync.Mutex           // held while a new view is made from the current one
	current  atomic.Pointer[view] // see view
	id       crypt.RepoID
	config   Config
	lost     error // why the config came from its copies; nil if the file was whole
	master   crypt.MasterKey
	slot     pack.FileID // the slot that the password opened
	keys     pack.Keys
	leases   *lease.Holder
	memory   string // the folder for what this machine remembers; "" for none
	minRun   int    // minimum chunks for a new run
	// maxRecent is how many chunks a Write keeps in memory before it makes a run of them.
	maxRecent   int
	dry         bool       // nothing that is put is stored
	writing     sync.Mutex // held by a Write
	indexing    sync.Mutex // held while the index is loaded, and while a Write adds to it
	stale       bool       // a Write failed, and the index claims chunks that no pack will hold; guarded by indexing
	decoder     *pack.Decoder
	workers     int
	compression pack.Compression
	namers      map[chunk.Kind]*sync.Pool // of *chunk.Namer
	maps        *lru.Cache[frameKey, []byte]
	loaders     sync.Pool // of *loader
	now         func() time.Time
	isDead      func(Lease) bool
	mends       mends
	healed      healed
	newer       newer
	upgraded    bool           // an older version of platter wrote to the repository before this process opened it
	grace       *time.Duration // how old a listing may be, as set by the user; nil if not set
}

// Open unlocks the repository with a password and reads none of its contents yet. If the config is missing or damaged,
// Open uses its copies; see ConfigFault. The error wraps ErrNoRepository, crypt.ErrWrongPassword, pack.ErrDamaged or
// pack.ErrNewer if one of them is the cause.
func Open(ctx context.Context, s store.Store, password []byte) (*Repo, error) {
	file, err := readConfig(ctx, s)
	if err != nil {
		return nil, err
	}
	r := new(Repo)
	r.setStore(s)
	_, r.dry = store.As[store.DryRun](s)
	if err := r.unlock(ctx, password, file); err != nil {
		return nil, err
	}
	return r, r.prepare()
}

// IsDry reports whether the repository is open for a dry run, which cannot read back what it puts.
func (r *Repo) IsDry() bool { return r.dry }

// mapFrames is how many decoded frames of map chunks are kept, because neighbouring pages share a frame.
const mapFrames = 16

// prepare makes everything that needs the master key.
func (r *Repo) prepare() (err error) {
	box := func(p crypt.Purpose) *crypt.Box { return crypt.NewBox(r.master, p, r.id) }
	r.keys = pack.Keys{Data: box(crypt.DataFrames), Map: box(crypt.MapFrames), Table: box(crypt.Tables), Tail: box(crypt.Tails)}
	r.now, r.isDead = time.Now, Lease.IsDead
	r.leases = r.newLeases()
	r.minRun, r.maxRecent = minRun, maxRecent
	r.change(func(v *view) {
		v.index, v.files = new(index.Index), new(indexFiles)
		v.cache = index.Cache{Key: r.master.Key(crypt.LocalIndex), Repo: r.id}
	})
	r.workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	r.namers = map[chunk.Kind]*sync.Pool{
		chunk.Data: namerPool(r.master.Key(crypt.DataIDs)),
		chunk.Map:  namerPool(r.master.Key(crypt.MapIDs)),
	}
	if r.decoder, err = pack.NewDecoder(r.keys, r.workers); err != nil {
		return err
	}
	r.maps, err = lru.New[frameKey, []byte](mapFrames)
	return err
}

// maxWorkers limits the memory on machines with many cores: each worker has buffers of some MiB.
const maxWorkers = 12

// SetWorkers sets the maximum number of cores to work on. Stored data does not depend on it.
func (r *Repo) SetWorkers(n int) { r.workers = max(1, min(n, maxWorkers)) }

// SetCompression sets the compression of data stored from now on. Existing data stays unchanged.
func (r *Repo) SetCompression(c pack.Compression) { r.compression = c }

// Workers returns how many cores to work on.
func (r *Repo) Workers() int { return r.workers }

// Config returns the content of the config file.
func (r *Repo) Config() Config {
	c := r.config
	c.Features, c.WriteFeatures = slices.Clone(c.Features), slices.Clone(c.WriteFeatures)
	return c
}

// writable returns an error that wraps pack.ErrNewer if a change of the repository requires features that this code
// does not know.
func (r *Repo) writable() error {
	for _, feature := range r.config.WriteFeatures {
		if !slices.Contains(writeFeatures(), feature) {
			return fmt.Errorf("it can be read, but not written to: %w (feature %q)", pack.ErrNewer, feature)
		}
	}
	return nil
}

// ID returns the repository's ID in hex.
func (r *Repo) ID() string { return fmt.Sprintf("%x", r.id[:]) }

// Cutter returns a chunk cutter with the repository's secret polynomial.
func (r *Repo) Cutter() (*chunk.Cutter, error) {
	poly, err := chunk.DerivePoly(r.master.Stream(crypt.Cuts))
	if err != nil {
		return nil, err
	}
	return chunk.NewCutter(poly, r.config.Chunks)
}

// Namer returns a Namer for chunks of a kind.
func (r *Repo) Namer(kind chunk.Kind) *chunk.Namer { return r.namers[kind].Get().(*chunk.Namer) }

// Index returns the index that LoadIndex read.
func (r *Repo) Index() *index.Index { return r.view().index }

func namerPool(key [32]byte) *sync.Pool {
	return &sync.Pool{New: func() any { return chunk.NewNamer(key) }}
}

// Return makes a Namer available to other callers.
func (r *Repo) Return(kind chunk.Kind, n *chunk.Namer) { r.namers[kind].Put(n) }
