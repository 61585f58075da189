package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// Find returns nil if a store holds a repository, and ErrNoRepository if it does not. It needs no password. A
// repository whose config is missing can be opened as long as it has keys.
func Find(ctx context.Context, s store.Store) error {
	_, err := s.Get(ctx, layout.Config, 0, 1)
	if err == nil {
		return nil
	}
	if layout.IsMissing(err) {
		var keys []layout.File
		if keys, err = layout.List(ctx, s, layout.Keys); err == nil && len(keys) == 0 {
			return ErrNoRepository
		}
	}
	if err != nil {
		return fmt.Errorf("look for a repository: %w", err)
	}
	return nil
}

// Vacant returns nil if a repository can be made. The error wraps ErrExists if there is one, or remains of one.
func Vacant(ctx context.Context, s store.Store) error {
	if _, err := s.Get(ctx, layout.Config, 0, 1); err == nil {
		return ErrExists
	} else if !layout.IsMissing(err) {
		return fmt.Errorf("look for a repository: %w", err)
	}
	keys, err := layout.List(ctx, s, layout.Keys)
	if err != nil {
		return fmt.Errorf("look for a repository: %w", err)
	}
	if len(keys) > 0 {
		return fmt.Errorf("%w, but its file %q is missing: another process is creating it, or it was deleted. 'platter repair config' writes it again; to start over, empty the folder",
			ErrExists, layout.Config)
	}
	// Without keys nothing can be read, but they may be restored from a copy.
	for f, err := range s.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("look for a repository: %w", err)
		}
		if !f.Odd && slices.Contains([]string{layout.Keys, layout.Packs, layout.Index, layout.Snapshots}, layout.Dir(f.Name)) {
			return fmt.Errorf("%w, but its file %q is missing: put it and the folder %s back from a copy, or empty the folder to start over",
				ErrExists, layout.Config, layout.Keys)
		}
	}
	return nil
}

// Init makes a repository in a store that has none. The password slot comes first, because it holds a copy of all that
// the config says. If several processes run Init at once, the one that creates the config wins; the others remove their
// slots.
func Init(ctx context.Context, s store.Store, password []byte, cost crypt.Cost, label string, settings Settings) (*Repo, error) {
	if err := errors.Join(cost.Validate(), settings.Validate()); err != nil {
		return nil, err
	}
	if err := Vacant(ctx, s); err != nil {
		return nil, err
	}
	r := &Repo{
		id: crypt.NewRepoID(), master: crypt.NewMasterKey(),
		config: Config{Settings: settings, Created: time.Now().UTC().Truncate(time.Second), WriteFeatures: writeFeatures()},
	}
	r.setStore(s)
	slot, err := r.putSlot(ctx, crypt.NewKDF(cost), password, label)
	if err != nil {
		return nil, err
	}
	r.slot = slot
	err = r.createConfig(ctx)
	if errors.Is(err, errConfigTaken) {
		// Only now is it certain that this slot's repository will never exist. Another process may have opened the
		// repository by this slot and created the config itself.
		err = fmt.Errorf("%w: another init was first", ErrExists)
		if left := s.Delete(ctx, layout.Name(layout.Keys, slot)); left != nil && !layout.IsMissing(left) {
			err = fmt.Errorf("%w; its key %s, which opens nothing, could not be deleted: %w", err, slot, left)
		}
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w; 'platter repair config' completes it, or empty the folder to start over", err)
	}
	return r, r.prepare()
}
