package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// How a slot is removed, so that no sessions together can remove the last one.
//
// Each removal has a witness: a slot whose password this session knows. It is the one that opened the repository, or the
// one that 'key passwd' has just made.
//
//  1. The slot is moved aside, to a name in the same folder that no other attempt has.
//  2. The witness is read under its own name. If it is not there, the slot is moved back and nothing is removed.
//  3. The slot is deleted under the name that it has aside.
//
// Suppose that all slots were deleted. Each was moved aside for the last time before its witness was read under its own
// name, and the witness, which was deleted as well, was moved aside for the last time after that. So every slot has one
// that went later than it did, and there are only finitely many: that cannot be.
//
// That needs no clock and no fresh listing, only that a file is moved or deleted but once (see store.Store.Move), and that
// a file that is not there cannot be read. A session that sleeps between two steps does no harm: what it then moves back
// or deletes has a name of its own. One that is killed leaves a slot aside. Such a slot opens as long as it is there, if no
// other does, and removing the key again deletes it, or moves it back. Where no slot has its own name any more, because
// two sessions were killed, the next change of keys moves those aside back first.

// errSlotElsewhere is for a slot that this session did not delete. Another one may have done so, or may put it back.
var errSlotElsewhere = errors.New("the key is missing: another process has removed it, or is removing it; see 'key list'")

// readRemoving adds the slots that somebody is removing, unless they are still there, and returns which those are, by what
// a try costs.
func (k *keyring) readRemoving(ctx context.Context, s store.Store) []pack.FileID {
	half := map[pack.FileID]*crypt.Slot{}
	for _, id := range slices.SortedFunc(maps.Keys(k.removing), compareIDs) {
		for _, name := range k.removing[id] {
			if slot, err := readSlotAs(ctx, s, name, id); err == nil && k.slots[id] == nil {
				half[id] = slot
			} else if err != nil && !layout.IsMissing(err) {
				k.bad = append(k.bad, err)
			}
		}
	}
	for id, slot := range half {
		k.slots[id] = slot
	}
	return byPrice(half)
}

func compareIDs(a, b pack.FileID) int { return bytes.Compare(a[:], b[:]) }

// RemoveSlot removes the slot whose id begins with prefix. It refuses the slot that the password in use opened, and
// the last one.
func (r *Repo) RemoveSlot(ctx context.Context, prefix string) (pack.FileID, error) {
	if err := r.writable(); err != nil {
		return pack.FileID{}, err
	}
	if err := r.upgrade(ctx); err != nil { // older platters delete slots at once
		return pack.FileID{}, err
	}
	ids, removing, err := listKeys(ctx, r.view().store)
	if err == nil && len(ids) == 0 {
		err = r.bringBack(ctx, removing)
	}
	if err != nil {
		return pack.FileID{}, err
	}
	for id := range removing {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	var found []pack.FileID // damaged ones too
	for _, id := range ids {
		if len(prefix) > 0 && strings.HasPrefix(id.String(), prefix) {
			found = append(found, id)
		}
	}
	switch {
	case len(found) != 1:
		return pack.FileID{}, ErrNoSlot
	case len(ids) == 1 && found[0] == r.slot:
		return pack.FileID{}, ErrLastSlot
	case found[0] == r.slot:
		return pack.FileID{}, ErrSlotInUse
	}
	return found[0], r.removeSlot(ctx, found[0], r.slot, removing[found[0]])
}

// removeSlot removes a slot while another, whose password is known, is there. half names its files that somebody has
// moved aside before.
func (r *Repo) removeSlot(ctx context.Context, id, witness pack.FileID, half []string) error {
	if r.dry {
		return nil
	}
	if _, err := readSlot(ctx, r.view().store, witness); layout.IsMissing(err) { // better seen before anything is moved
		return ErrKeyMoved
	} else if err != nil {
		return err
	}
	name, aside := layout.Name(layout.Keys, id), layout.RemovingName(id)
	err := r.view().store.Move(ctx, name, aside)
	if err != nil {
		_, there := r.view().store.Get(ctx, aside, 0, 1)
		switch {
		case there == nil: // it was moved, and the answer was lost
		case !layout.IsMissing(there):
			return there
		case layout.IsMissing(err):
			aside = ""
		default:
			return err
		}
	}
	// From here on, what was begun is brought to an end even if the command is interrupted.
	ctx = context.WithoutCancel(ctx)
	if _, err := readSlot(ctx, r.view().store, witness); err != nil {
		if aside != "" {
			if back := r.view().store.Move(ctx, aside, name); back != nil && !layout.IsMissing(back) {
				return fmt.Errorf("%w; and the key that was to be removed is now %s: %w", err, aside, back)
			}
		}
		if layout.IsMissing(err) {
			return ErrKeyMoved
		}
		return err
	}
	if aside != "" {
		half = []string{aside} // there is but one, and others that were listed are its past names
	}
	for _, name := range half {
		if err := r.view().store.Delete(ctx, name); err == nil {
			return nil
		} else if !layout.IsMissing(err) {
			return err
		}
	}
	return errSlotElsewhere
}

// bringBack gives slots that were moved aside their names again, where no other slot is there. Whoever was about to delete
// one then finds it gone.
func (r *Repo) bringBack(ctx context.Context, removing map[pack.FileID][]string) error {
	if r.dry {
		return nil
	}
	for _, id := range slices.SortedFunc(maps.Keys(removing), compareIDs) {
		for _, name := range removing[id] {
			if err := r.view().store.Move(ctx, name, layout.Name(layout.Keys, id)); err != nil && !layout.IsMissing(err) {
				return err
			}
		}
	}
	return nil
}

// ChangePassword puts a new password in the place of the one in use: the new slot is durable before the old one goes.
func (r *Repo) ChangePassword(ctx context.Context, password []byte, cost crypt.Cost, label string) (pack.FileID, error) {
	if err := r.writable(); err != nil {
		return pack.FileID{}, err
	}
	if err := r.upgrade(ctx); err != nil { // older platters delete slots at once
		return pack.FileID{}, err
	}
	id, err := r.AddSlot(ctx, password, cost, label)
	if err != nil {
		return pack.FileID{}, err
	}
	_, removing, err := listKeys(ctx, r.view().store)
	if err == nil {
		err = r.removeSlot(ctx, r.slot, id, removing[r.slot])
	}
	if err != nil {
		return pack.FileID{}, fmt.Errorf("the new password opens the repository, but the old one may still do so: %w", err)
	}
	r.slot = id
	return id, nil
}
