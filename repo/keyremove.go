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

// How to remove a slot so that concurrent sessions never remove the last one.
//
// Each removal has a witness: another slot whose password this session knows. The witness is the slot that opened the
// repository, or the one that 'key passwd' has just made.
//
//  1. The slot is moved aside, to a name in the same folder that no other attempt uses.
//  2. The witness is read under its own name. If it is missing, the slot is moved back and nothing is removed.
//  3. The slot is deleted under its aside name.
//
// Suppose that all slots were deleted. Each slot was moved aside for the last time before its witness was read under
// its own name. The witness was deleted as well, so it was moved aside for the last time after that read. So for every
// slot there is one that was moved later. But there are only finitely many slots: a contradiction.
//
// The argument needs neither a clock nor a fresh listing. It needs only that a file is moved or deleted at most once
// (see store.Store.Move), and that a missing file cannot be read. A session that sleeps between two steps does no harm:
// the file that it then moves back or deletes has a unique name. A killed session leaves a slot aside. Such a slot
// still opens the repository if no other slot does. Removing the key again deletes it or moves it back. If two sessions
// were killed, no slot may have its own name any more. Then the next change of keys first moves those aside back.

// errSlotElsewhere is for a slot that this session did not delete. Another session may have deleted it, or may put it
// back.
var errSlotElsewhere = errors.New("the key is missing: another process has removed it, or is removing it; see 'key list'")

// readRemoving adds the slots that are being removed, unless they also have their own names. It returns their IDs, the
// cheapest to try first.
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

// RemoveSlot removes the slot whose ID begins with prefix. It refuses the last slot and the one that the current
// password opened.
func (r *Repo) RemoveSlot(ctx context.Context, prefix string) (pack.FileID, error) {
	if err := r.writable(); err != nil {
		return pack.FileID{}, err
	}
	if err := r.upgrade(ctx); err != nil { // older versions of platter delete slots in one step
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
	var found []pack.FileID // including damaged slots
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

// removeSlot removes a slot while a witness, whose password is known, is there. half names the slot's files that
// earlier attempts moved aside.
func (r *Repo) removeSlot(ctx context.Context, id, witness pack.FileID, half []string) error {
	if r.dry {
		return nil
	}
	// Best detected before anything is moved.
	if _, err := readSlot(ctx, r.view().store, witness); layout.IsMissing(err) {
		return ErrKeyMoved
	} else if err != nil {
		return err
	}
	name, aside := layout.Name(layout.Keys, id), layout.RemovingName(id)
	err := r.view().store.Move(ctx, name, aside)
	if err != nil {
		_, there := r.view().store.Get(ctx, aside, 0, 1)
		switch {
		case there == nil: // the move succeeded, and its answer was lost
		case !layout.IsMissing(there):
			return there
		case layout.IsMissing(err):
			aside = ""
		default:
			return err
		}
	}
	// From here on, the removal is finished even if the command is interrupted.
	ctx = context.WithoutCancel(ctx)
	if _, err := readSlot(ctx, r.view().store, witness); err != nil {
		if aside != "" {
			if back := r.view().store.Move(ctx, aside, name); back != nil && !layout.IsMissing(back) {
				return fmt.Errorf("%w; and the key to be removed is now called %s: %w", err, aside, back)
			}
		}
		if layout.IsMissing(err) {
			return ErrKeyMoved
		}
		return err
	}
	if aside != "" {
		half = []string{aside} // there is only one file, and the other listed names are its past names
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

// bringBack moves slots that were moved aside back to their own names, unless a slot is there. A process that was about
// to delete such a slot then finds it missing.
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

// ChangePassword replaces the current password. The new slot is durable before the old one is removed.
func (r *Repo) ChangePassword(ctx context.Context, password []byte, cost crypt.Cost, label string) (pack.FileID, error) {
	if err := r.writable(); err != nil {
		return pack.FileID{}, err
	}
	if err := r.upgrade(ctx); err != nil { // older versions of platter delete slots in one step
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
