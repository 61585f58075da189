package repo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"platter/index"
	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// HintConfig says how to mend a config.
const HintConfig = "run 'platter repair config': it writes the config again from its copies"

// errConfigTaken says that the config is missing and that another repository's took its place.
var errConfigTaken = errors.New("the file config now belongs to another repository, and this one's is missing: nothing was written; put this one's back from a copy")

// useCopy takes the config from its copies; the master key is known. There may be keys of several repositories, if an
// init that came second was killed before it removed its own. Then the files must show which repository this is.
func (r *Repo) useCopy(ctx context.Context, k *keyring, fault error) error {
	if k.several() {
		if ours, err := r.proved(ctx); err != nil {
			return err
		} else if !ours {
			return fmt.Errorf("%w; there are keys of several repositories, and nothing shows that this password opens the one whose data are here: "+
				"remove the other keys from %s, or put the config back from a copy", fault, layout.Keys)
		}
	}
	c, err := r.copies(ctx, k)
	if err != nil {
		return fmt.Errorf("%w; its copies: %w", fault, err)
	}
	// An older platter without leases opens nothing without a config. But one may have been at work when the config
	// was deleted.
	r.upgraded = !slices.Contains(c.WriteFeatures, Leases)
	c.demand(Config{WriteFeatures: writeFeatures()})
	r.config, r.lost = c, fault
	return nil
}

// copies combines all copies of the config, which may differ in age. It takes the union of what only grows, and the
// rest from the newest copy. The copy in config.copy, if there is one, is as new as the config was.
func (r *Repo) copies(ctx context.Context, k *keyring) (Config, error) {
	var all []Config
	var bad []error
	file, err := readConfigAs(ctx, r.view().store, layout.ConfigCopy)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if c, err = openConfig(r.configBox(), file.sealed); err == nil {
		all = append(all, c)
	} else if !file.missing() {
		bad = append(bad, fmt.Errorf("%s: %w", layout.ConfigCopy, err))
	}
	fixed := len(all) // these entries stay in front
	var newest time.Time
	for id, slot := range k.slots {
		if slot.Repo != r.id {
			continue
		}
		c, made, err := slotCopy(slot, r.master)
		switch {
		case err != nil:
			bad = append(bad, fmt.Errorf("%s: %w", layout.Name(layout.Keys, id), err))
		case made.After(newest):
			all, newest = slices.Insert(all, fixed, c), made
		default:
			all = append(all, c)
		}
	}
	for _, err := range bad {
		if errors.Is(err, pack.ErrNewer) { // the config demanded what one copy demands
			return Config{}, err
		}
	}
	if len(all) == 0 {
		return Config{}, errors.Join(append(bad, fmt.Errorf("%w: none can be read", pack.ErrDamaged))...)
	}
	merged := all[0]
	for _, c := range all[1:] {
		merged.demand(c)
	}
	return merged, nil
}

// slotCopy returns the copy of the config in a slot, and when the slot was made.
func slotCopy(slot *crypt.Slot, m crypt.MasterKey) (c Config, made time.Time, err error) {
	plain, err := slot.ReadInfo(m)
	if err != nil {
		return c, made, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	var says struct {
		Created time.Time
		Config  json.RawMessage
	}
	if err := json.Unmarshal(plain, &says); err != nil {
		return c, made, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	c, err = parseConfig(says.Config)
	return c, says.Created, err
}

// proved reports whether any file was sealed with this repository's key, which shows that the repository was in use
// here.
func (r *Repo) proved(ctx context.Context) (bool, error) {
	for _, of := range []struct {
		dir     string
		kind    pack.FileKind
		purpose crypt.Purpose
		limit   int64
	}{
		{layout.Snapshots, pack.SnapshotFile, crypt.Snapshots, layout.MaxSnapshot},
		{layout.Index, pack.IndexFile, crypt.Indexes, index.MaxFile},
		{layout.Forgotten, pack.RecordFile, crypt.Forgotten, layout.MaxRecord},
	} {
		files, err := layout.List(ctx, r.view().store, of.dir)
		if err != nil {
			return false, err
		}
		for _, f := range files {
			if _, err := r.openNamed(ctx, of.dir, f.ID, of.kind, of.purpose, of.limit); err == nil {
				return true, nil
			} else if !layout.IsPermanent(err) {
				return false, err
			}
		}
	}
	return false, nil
}

// claimConfig must run before a write to a repository that was opened without its config. While the config is missing,
// an init that began before there were keys may still put another repository's config there. Then nothing that was
// written would ever be found. If the repository was in use, its files prove that; otherwise, creating the config
// decides.
func (r *Repo) claimConfig(ctx context.Context) error {
	if r.lost == nil || r.dry {
		return nil
	}
	file, err := readConfig(ctx, r.view().store)
	if err != nil {
		return err
	}
	if c, err := openConfig(r.configBox(), file.sealed); err == nil { // another process has repaired it
		c.demand(r.config)
		r.config, r.lost = c, file.fault
		return r.writable()
	}
	if ours, err := r.proved(ctx); err != nil || ours {
		return err
	}
	switch {
	case file.missing():
		return r.createConfig(ctx)
	case layout.IsMissing(r.lost): // it appeared since
		return errConfigTaken
	}
	return nil
}

// createConfig creates the config if there is none. The error wraps errConfigTaken if another repository's came first.
func (r *Repo) createConfig(ctx context.Context) error {
	encoded, err := r.encodeConfig()
	if err != nil {
		return err
	}
	err = r.view().store.Create(ctx, layout.Config, encoded)
	there, readErr := r.settledConfig(ctx)
	switch {
	case readErr != nil:
		return errors.Join(err, readErr)
	case there.missing():
		if err == nil {
			err = errors.New("it was created, but is missing")
		}
		return fmt.Errorf("%s: %w", layout.Config, err)
	}
	if _, openErr := openConfig(r.configBox(), there.sealed); openErr == nil {
		r.lost = nil
		return store.SyncDir(ctx, r.view().store, layout.Keys) // also syncs the root, which holds the config
	} else if there.whole() || errors.Is(there.fault, pack.ErrNewer) {
		return errConfigTaken
	}
	return fmt.Errorf("%w: it is incomplete: another process is creating it, or was killed while doing so; %s", pack.ErrDamaged, HintConfig)
}

// How long to wait for a config that another process is writing in place. Some file systems offer no other way to
// create it.
const (
	configTries = 50
	configPause = 100 * time.Millisecond
)

// settledConfig reads the config once no process is creating it any more.
func (r *Repo) settledConfig(ctx context.Context) (file configFile, err error) {
	for range configTries {
		file, err = readConfig(ctx, r.view().store)
		if err != nil || file.missing() || file.whole() || errors.Is(file.fault, pack.ErrNewer) {
			return file, err
		}
		if err := wait(ctx, configPause); err != nil {
			return file, err
		}
	}
	return file, nil
}

// RepairedConfig says what RepairConfig did.
type RepairedConfig struct {
	Fault    string   `json:"fault,omitempty"` // what was wrong; "" if nothing was, and then nothing was done
	Settings Settings `json:"settings"`
}

// RepairConfig writes the config or its copy again if it is missing or damaged. It uses what Open found out about the
// config.
func (r *Repo) RepairConfig(ctx context.Context) (*RepairedConfig, error) {
	done := &RepairedConfig{Settings: r.config.Settings}
	if err := r.writable(); err != nil {
		return nil, err
	}
	fault := r.lost
	if fault == nil {
		file, err := readConfigAs(ctx, r.view().store, layout.ConfigCopy)
		if err != nil {
			return nil, err
		}
		if _, err = openConfig(r.configBox(), file.sealed); err == nil && file.fault == nil || file.missing() {
			return done, nil
		}
		fault = cmp.Or(file.fault, fmt.Errorf("%s: %w", layout.ConfigCopy, err))
	}
	done.Fault = fault.Error()
	wrong := r.lost != nil
	err := r.claimConfig(ctx)
	if err == nil && (r.lost != nil || !wrong) && !r.dry {
		err = r.putConfig(ctx)
	}
	done.Settings = r.config.Settings
	if err != nil {
		return nil, fmt.Errorf("repair config: %w", err)
	}
	return done, nil
}
