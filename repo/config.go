package repo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// Config is what the config file says: the header, and this as sealed JSON. Every password slot has a copy.
type Config struct {
	Settings
	Created time.Time `json:"created"`
	// Features are what somebody must know of to read the repository, and WriteFeatures what somebody must know of to
	// change it. They are only ever added. This code knows of no Features, and of Leases and Readers.
	Features      []string `json:"features,omitempty"`
	WriteFeatures []string `json:"write_features,omitempty"`
}

// Write features. The first writer that knows of one adds it.
const (
	// Leases has it that nobody writes without a lease.
	Leases = "leases"
	// Readers has it that whoever deletes anything goes by fresh listings, leaves alone what readers hold leases of and what is
	// kept aside, and removes a password slot in three steps.
	Readers = "readers"
)

// writeFeatures returns those that this code knows of.
func writeFeatures() []string { return []string{Leases, Readers} }

// demand adds features that c does not have.
func (c *Config) demand(of Config) {
	add := func(to *[]string, from []string) {
		for _, feature := range from {
			if !slices.Contains(*to, feature) {
				*to = append(*to, feature)
			}
		}
	}
	add(&c.Features, of.Features)
	add(&c.WriteFeatures, of.WriteFeatures)
}

// A configFile is what was found where a config belongs.
type configFile struct {
	sealed []byte
	fault  error // what is wrong with it, as far as that shows without a key: it is missing, damaged, or newer
}

// missing reports whether there is no file at all.
func (f configFile) missing() bool { return layout.IsMissing(f.fault) }

// whole reports whether it can be a config, of this repository or another. One that is being created in place, or whose
// creation a crash ended, is not.
func (f configFile) whole() bool {
	return f.fault == nil && len(f.sealed) > crypt.Overhead && (len(f.sealed)-crypt.Overhead)%layout.Padding == 0
}

// A missingError says that the file of this name is not there.
type missingError string

func (name missingError) Error() string { return string(name) + ": it is missing" }

// Is makes it an fs.ErrNotExist.
func (missingError) Is(target error) bool { return target == fs.ErrNotExist }

// readConfig reads the config, or finds out what is wrong with it. It fails where it cannot tell.
func readConfig(ctx context.Context, s store.Store) (configFile, error) {
	return readConfigAs(ctx, s, layout.Config)
}

func readConfigAs(ctx context.Context, s store.Store, name string) (f configFile, err error) {
	file, err := layout.Read(ctx, s, name, layout.MaxConfig)
	switch {
	case err == nil:
		if f.sealed, f.fault = pack.ParseHeader(file, pack.ConfigFile); f.fault != nil {
			f.fault = fmt.Errorf("%s: %w", name, f.fault)
			f.sealed = file[min(pack.HeaderSize, len(file)):] // whose seal may hold all the same
		}
	case layout.IsMissing(err):
		f.fault = missingError(name)
	case errors.Is(err, pack.ErrDamaged), errors.Is(err, syscall.EIO):
		f.fault = err
	default:
		return f, fmt.Errorf("read config: %w", err)
	}
	return f, nil
}

// openConfig returns what a sealed config says. The error wraps pack.ErrDamaged or pack.ErrNewer.
func openConfig(box *crypt.Box, sealed []byte) (c Config, err error) {
	plain, err := box.Open(bytes.Clone(sealed))
	if err != nil {
		return c, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	return parseConfig(plain)
}

func parseConfig(plain []byte) (c Config, err error) {
	var needs struct{ Features []string }
	if err := json.Unmarshal(plain, &needs); err != nil {
		return c, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	if len(needs.Features) > 0 { // with which all else may look different
		return c, fmt.Errorf("%w (feature %q)", pack.ErrNewer, needs.Features[0])
	}
	if err := json.Unmarshal(plain, &c); err != nil {
		return c, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	return c, nil
}

func (r *Repo) configBox() *crypt.Box { return crypt.NewBox(r.master, crypt.Config, r.id) }

// ConfigFault returns why the config could not be read when the repository was opened, and nil where it could. Everything
// works by its copies until RepairConfig.
func (r *Repo) ConfigFault() error { return r.lost }

// encodeConfig returns the config as a file.
func (r *Repo) encodeConfig() ([]byte, error) {
	plain, err := json.Marshal(r.config)
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	return append(pack.Header(pack.ConfigFile), r.configBox().Seal(layout.Pad(plain))...), nil
}

// putConfig stores the config: first as a copy, so that one of the two is whole at any time, even where replacing a file
// is not atomic. Features that somebody else has added since are kept.
func (r *Repo) putConfig(ctx context.Context) error {
	file, err := readConfig(ctx, r.view().store)
	if err != nil {
		return err
	}
	now, err := openConfig(r.configBox(), file.sealed)
	if errors.Is(err, pack.ErrNewer) {
		return fmt.Errorf("%s: %w", layout.Config, err)
	}
	if err == nil {
		r.config.demand(now)
	}
	if err := r.writable(); err != nil {
		return err
	}
	encoded, err := r.encodeConfig()
	if err == nil {
		err = r.view().store.Put(ctx, layout.ConfigCopy, encoded)
	}
	if err == nil {
		err = r.view().store.Put(ctx, layout.Config, encoded)
	}
	if err == nil {
		r.lost = nil
	}
	return err
}

// upgrade keeps out writers that know less than this code, from now on. Those that know nothing of leases may be at work unseen.
func (r *Repo) upgrade(ctx context.Context) error {
	if err := r.claimConfig(ctx); err != nil {
		return err
	}
	before := r.config.WriteFeatures
	upgraded := Config{WriteFeatures: slices.Clone(before)}
	upgraded.demand(Config{WriteFeatures: writeFeatures()})
	if len(upgraded.WriteFeatures) == len(before) {
		return nil // and nothing is written to r, which others may read
	}
	r.config.WriteFeatures = upgraded.WriteFeatures
	if err := r.putConfig(ctx); err != nil {
		r.config.WriteFeatures = before
		return fmt.Errorf("note in the config what writers must know of: %w", err)
	}
	r.upgraded = !slices.Contains(before, Leases)
	return nil
}
