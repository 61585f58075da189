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

// Config is the content of the config file: a header and this, as sealed JSON. Every password slot has a copy.
type Config struct {
	Settings
	Created time.Time `json:"created"`
	// Features are what a program must know to read the repository, and WriteFeatures what it must know to change it.
	// Features are only ever added. This code knows no Features, and the WriteFeatures Leases and Readers.
	Features      []string `json:"features,omitempty"`
	WriteFeatures []string `json:"write_features,omitempty"`
}

// Write features. The first writer that knows a feature adds it.
const (
	// Leases means that every writer holds a lease.
	Leases = "leases"
	// Readers means that every process that deletes uses fresh listings, and leaves alone what readers' leases name and
	// what is kept aside. It also means that a password slot is removed in three steps.
	Readers = "readers"
)

// writeFeatures returns the write features that this code knows.
func writeFeatures() []string { return []string{Leases, Readers} }

// demand adds the features of another Config that c does not have.
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

// A configFile is what is stored under the name of a config.
type configFile struct {
	sealed []byte
	fault  error // what is wrong with it, as far as that shows without a key: it is missing, damaged, or newer
}

// missing reports whether there is no file at all.
func (f configFile) missing() bool { return layout.IsMissing(f.fault) }

// whole reports whether the file may be the config of this or another repository. It is false for a config that another
// process is writing in place, or that a crash left half written.
func (f configFile) whole() bool {
	return f.fault == nil && len(f.sealed) > crypt.Overhead && (len(f.sealed)-crypt.Overhead)%layout.Padding == 0
}

// A missingError says that the file of this name is missing.
type missingError string

func (name missingError) Error() string { return string(name) + ": it is missing" }

// Is makes a missingError match fs.ErrNotExist.
func (missingError) Is(target error) bool { return target == fs.ErrNotExist }

// readConfig reads the config, or finds out what is wrong with it. It fails only if it cannot find out.
func readConfig(ctx context.Context, s store.Store) (configFile, error) {
	return readConfigAs(ctx, s, layout.Config)
}

func readConfigAs(ctx context.Context, s store.Store, name string) (f configFile, err error) {
	file, err := layout.Read(ctx, s, name, layout.MaxConfig)
	switch {
	case err == nil:
		if f.sealed, f.fault = pack.ParseHeader(file, pack.ConfigFile); f.fault != nil {
			f.fault = fmt.Errorf("%s: %w", name, f.fault)
			f.sealed = file[min(pack.HeaderSize, len(file)):] // the seal may still be whole
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

// openConfig returns the content of a sealed config. The error wraps pack.ErrDamaged or pack.ErrNewer.
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
	if len(needs.Features) > 0 { // with unknown features, everything else may look different
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

// ConfigFault returns why the config could not be read when the repository was opened, or nil if it could. Until
// RepairConfig, everything works with its copies.
func (r *Repo) ConfigFault() error { return r.lost }

// encodeConfig returns the config as a file.
func (r *Repo) encodeConfig() ([]byte, error) {
	plain, err := json.Marshal(r.config)
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	return append(pack.Header(pack.ConfigFile), r.configBox().Seal(layout.Pad(plain))...), nil
}

// putConfig stores the config. It writes the copy first, so that one of the two is always whole, even if replacing a
// file is not atomic. It keeps features that another process has added since.
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

// upgrade adds the write features of this code, which keeps out older writers. Writers without leases may be at work
// unnoticed.
func (r *Repo) upgrade(ctx context.Context) error {
	if err := r.claimConfig(ctx); err != nil {
		return err
	}
	before := r.config.WriteFeatures
	upgraded := Config{WriteFeatures: slices.Clone(before)}
	upgraded.demand(Config{WriteFeatures: writeFeatures()})
	if len(upgraded.WriteFeatures) == len(before) {
		return nil // without a write to r, which other goroutines may read
	}
	r.config.WriteFeatures = upgraded.WriteFeatures
	if err := r.putConfig(ctx); err != nil {
		r.config.WriteFeatures = before
		return fmt.Errorf("record in the config what writers must support: %w", err)
	}
	r.upgraded = !slices.Contains(before, Leases)
	return nil
}
