package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
)

// maxKDFs limits how many key derivations are tried, because the owner of the store may have set their cost.
const maxKDFs = 16

// unlock tries a password on every slot until one has the key of the config. It tries cheap slots first. Those being
// removed come last, since they are not removed yet. Slots that share a KDF share one derivation. If the config opens
// with no key, its copies replace it.
func (r *Repo) unlock(ctx context.Context, password []byte, file configFile) error {
	if errors.Is(file.fault, pack.ErrNewer) { // a copy must not replace a config that this code does not understand
		return file.fault
	}
	k, err := readSlots(ctx, r.view().store)
	if err != nil {
		return err
	}
	if file.missing() && len(k.slots)+len(k.bad)+len(k.removing) == 0 {
		return ErrNoRepository
	}
	t := &unlocking{repo: r, keys: k, file: file, password: password, stretched: map[crypt.KDF][32]byte{}}
	if done, err := t.try(ctx, byPrice(k.slots)); done || err != nil {
		return err
	}
	none := len(k.slots)+len(k.bad) == 0
	half := k.readRemoving(ctx, r.view().store)
	done, err := t.try(ctx, half)
	if done && none {
		_ = r.bringBack(ctx, k.removing) // older versions of platter need them under their own names; this one does not
	}
	if done || err != nil {
		return err
	}
	var newer bool
	for _, err := range t.wrong {
		newer = newer || errors.Is(err, pack.ErrNewer)
	}
	if !newer {
		for _, id := range t.opened {
			r.master, r.id, r.slot = t.masters[id], k.slots[id].Repo, id
			if err = r.useCopy(ctx, k, t.fault()); err == nil {
				return nil
			}
			t.wrong = append(t.wrong, err)
		}
	}
	return t.verdict()
}

// An unlocking is the search for a slot that a password opens.
type unlocking struct {
	repo      *Repo
	keys      *keyring
	file      configFile
	password  []byte
	stretched map[crypt.KDF][32]byte
	opened    []pack.FileID // slots that the password opens, although their key does not open the config
	masters   map[pack.FileID]crypt.MasterKey
	wrong     []error // what is wrong although the password is right
	untried   []error // why some slots were not tried
}

// try tries slots in the given order.
func (t *unlocking) try(ctx context.Context, ids []pack.FileID) (done bool, err error) {
	for _, id := range ids {
		slot := t.keys.slots[id]
		if _, ok := t.stretched[slot.KDF]; !ok {
			if len(t.stretched) == maxKDFs {
				t.untried = append(t.untried, fmt.Errorf("%s: it was not tried, because the keys have more than %d different costs or salts", layout.Name(layout.Keys, id), maxKDFs))
				continue
			}
			if t.stretched[slot.KDF], err = stretch(ctx, slot.KDF, t.password); err != nil {
				return false, err
			}
		}
		m, err := slot.Unlock(t.stretched[slot.KDF])
		switch {
		case err == nil:
			t.repo.master, t.repo.slot, t.repo.id = m, id, slot.Repo
			if t.repo.config, err = openConfig(t.repo.configBox(), t.file.sealed); err == nil {
				t.repo.lost = t.file.fault // a fault of its header
				return true, nil
			}
			if errors.Is(err, pack.ErrNewer) {
				t.wrong = append(t.wrong, fmt.Errorf("%s: %w", layout.Config, err))
			}
			if t.masters == nil {
				t.masters = map[pack.FileID]crypt.MasterKey{}
			}
			t.opened, t.masters[id] = append(t.opened, id), m
		case errors.Is(err, crypt.ErrTampered):
			t.wrong = append(t.wrong, fmt.Errorf("%s: %w: %w", layout.Name(layout.Keys, id), pack.ErrDamaged, err))
		}
	}
	return false, nil
}

// fault returns what is wrong with the config if a password has opened a slot but not the config.
func (t *unlocking) fault() error {
	if t.file.fault != nil {
		return t.file.fault
	}
	return fmt.Errorf("%s: %w: it does not decrypt", layout.Config, pack.ErrDamaged)
}

// verdict says why the password opens nothing.
func (t *unlocking) verdict() error {
	bad := t.keys.bad
	unread := slices.IndexFunc(bad, func(err error) bool { return !layout.IsPermanent(err) })
	if len(t.wrong) == 0 && unread >= 0 { // the right slot may be the unreadable one
		return fmt.Errorf("read keys: %w", bad[unread])
	}
	why := t.wrong
	if len(why) == 0 {
		why = []error{crypt.ErrWrongPassword}
		if len(t.keys.slots) == 0 {
			why[0] = fmt.Errorf("%w: no key in the folder %s can be read; put one back from a copy", pack.ErrDamaged, layout.Keys)
		}
	}
	return errors.Join(slices.Concat(why, bad, t.untried)...)
}

// byPrice sorts slots by the cost of a try.
func byPrice(slots map[pack.FileID]*crypt.Slot) []pack.FileID {
	price := func(id pack.FileID) uint64 { return uint64(slots[id].Time) * uint64(slots[id].Memory) }
	return slices.SortedFunc(maps.Keys(slots), func(a, b pack.FileID) int {
		return cmp.Or(cmp.Compare(price(a), price(b)), slices.Compare(a[:], b[:]))
	})
}

// stretch stops waiting when ctx is done. The computation itself cannot be stopped and ends later.
func stretch(ctx context.Context, kdf crypt.KDF, password []byte) (stretched [32]byte, err error) {
	done := make(chan [32]byte, 1)
	go func() { done <- kdf.Stretch(password) }()
	select {
	case stretched = <-done:
		// In KiB. The KDF's tens of megabytes are the most memory that this program ever holds at once.
		if kdf.Memory >= 1<<10 {
			debug.FreeOSMemory()
		}
		return stretched, nil
	case <-ctx.Done():
		return stretched, ctx.Err()
	}
}
