package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// SlotInfo describes a password slot for display. It is sealed under the master key.
type SlotInfo struct {
	Label   string    `json:"label,omitempty"`
	Host    string    `json:"host,omitempty"`
	Created time.Time `json:"created"`
	Config  Config    `json:"config"` // a copy, in case the config is missing
}

// A Slot is a password slot as listed.
type Slot struct {
	ID      pack.FileID
	Current bool // the current password opened this one
	Cost    crypt.Cost
	Info    SlotInfo
}

var (
	// ErrSlotInUse says that a slot cannot be removed because the current password opens it. Otherwise there might be
	// no password left that opens the repository.
	ErrSlotInUse = errors.New("the password in use opens this key; change it with 'key passwd', or remove it while using another password")
	// ErrLastSlot says that a slot cannot be removed because no other slot holds the master key.
	ErrLastSlot = errors.New("this is the last key; without it, the repository cannot be opened")
	// ErrKeyMoved says that a slot was not removed because the one in use is missing.
	ErrKeyMoved = errors.New("the key in use is missing, or another process is removing it, so no other key is removed; open the repository again")
	// ErrNoSlot says that an ID matches no slot, or several.
	ErrNoSlot = errors.New("no such key; see 'key list'")

	// ErrOddSlot says that a file is not a key of this repository, and that nothing is damaged.
	ErrOddSlot      = errors.New("it is not a key of this repository")
	errForeignSlot  = fmt.Errorf("%w: it belongs to another one, and a second init may have left it; 'key remove' removes it", ErrOddSlot)
	errBeingRemoved = fmt.Errorf("%w any more, or soon will not be: another process is removing it, or was killed while doing so; run 'key remove' again", ErrOddSlot)
)

// A keyring is the content of the keys folder.
type keyring struct {
	slots    map[pack.FileID]*crypt.Slot // readable slots, including those being removed if a password may need them
	bad      []error                     // one error for each unreadable slot
	removing map[pack.FileID][]string    // files of slots whose removal is running or was interrupted
}

// several reports whether the slots belong to more than one repository.
func (k *keyring) several() bool {
	ids := map[crypt.RepoID]bool{}
	for _, slot := range k.slots {
		ids[slot.Repo] = true
	}
	return len(ids) > 1
}

// listKeys returns the IDs of the slots, and the files of those that are being removed.
func listKeys(ctx context.Context, s store.Store) (ids []pack.FileID, removing map[pack.FileID][]string, err error) {
	removing = map[pack.FileID][]string{}
	for f, err := range s.List(ctx, layout.Keys) {
		if err != nil {
			return nil, nil, fmt.Errorf("list %s: %w", layout.Keys, err)
		}
		if id, ok := layout.ParseID(layout.Keys, f); ok {
			ids = append(ids, id)
		} else if id, ok := layout.ParseRemoving(f); ok {
			removing[id] = append(removing[id], f.Name)
		}
	}
	return ids, removing, nil
}

// readSlots reads all slots except those that are being removed.
func readSlots(ctx context.Context, s store.Store) (*keyring, error) {
	ids, removing, err := listKeys(ctx, s)
	if err != nil {
		return nil, err
	}
	k := &keyring{slots: map[pack.FileID]*crypt.Slot{}, removing: removing}
	for _, id := range ids {
		slot, err := readSlot(ctx, s, id)
		if err != nil {
			k.bad = append(k.bad, err)
			continue
		}
		k.slots[id] = slot
	}
	return k, ctx.Err()
}

func readSlot(ctx context.Context, s store.Store, id pack.FileID) (*crypt.Slot, error) {
	return readSlotAs(ctx, s, layout.Name(layout.Keys, id), id)
}

func readSlotAs(ctx context.Context, s store.Store, name string, id pack.FileID) (*crypt.Slot, error) {
	body, err := layout.ReadAs(ctx, s, name, id, pack.SlotFile, layout.MaxSlot)
	if err != nil {
		return nil, err
	}
	slot, err := crypt.ParseSlot(body)
	if errors.Is(err, crypt.ErrUnknownKDF) {
		return nil, fmt.Errorf("%s: %w (%w)", name, pack.ErrNewer, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, pack.ErrDamaged, err)
	}
	return slot, nil
}

// putSlot stores a slot that locks the master key under a password.
func (r *Repo) putSlot(ctx context.Context, kdf crypt.KDF, password []byte, label string) (pack.FileID, error) {
	if len(password) == 0 {
		return pack.FileID{}, errors.New("an empty password protects nothing")
	}
	host, _ := os.Hostname() // for display
	info, err := json.Marshal(SlotInfo{Label: label, Host: host, Created: time.Now().UTC().Truncate(time.Second), Config: r.config})
	if err != nil {
		return pack.FileID{}, fmt.Errorf("encode key info: %w", err)
	}
	stretched, err := stretch(ctx, kdf, password)
	if err != nil {
		return pack.FileID{}, err
	}
	slot := crypt.NewSlot(r.master, r.id, kdf, stretched, layout.Pad(info))
	id, _, err := layout.PutNamed(ctx, r.view().store, layout.Keys, pack.SlotFile, slot.Encode())
	return id, err
}

// AddSlot adds a password. If cost is that of the slot in use, the new slot shares its KDF. Then opening with a wrong
// password takes no longer than before. No other slot's KDF would do, because only the slot in use has proved that this
// repository made it.
func (r *Repo) AddSlot(ctx context.Context, password []byte, cost crypt.Cost, label string) (pack.FileID, error) {
	if err := errors.Join(cost.Validate(), r.writable()); err != nil {
		return pack.FileID{}, err
	}
	if err := r.claimConfig(ctx); err != nil {
		return pack.FileID{}, err
	}
	k, err := readSlots(ctx, r.view().store)
	if err != nil {
		return pack.FileID{}, err
	}
	kdf := crypt.NewKDF(cost)
	kdfs := map[crypt.KDF]bool{kdf: true}
	for _, slot := range k.slots {
		kdfs[slot.KDF] = true
	}
	if current := k.slots[r.slot]; current != nil && current.Cost == cost {
		kdf = current.KDF
	} else if len(kdfs) > maxKDFs {
		return pack.FileID{}, fmt.Errorf("there are %d keys of different costs or salts; remove one, or use the cost of the key in use", len(kdfs)-1)
	}
	return r.putSlot(ctx, kdf, password, label)
}

// Slots lists the password slots, with an error for each that cannot be read. The error wraps ErrOddSlot if the file is
// not a slot of this repository.
func (r *Repo) Slots(ctx context.Context) ([]Slot, []error, error) {
	k, err := readSlots(ctx, r.view().store)
	if err != nil {
		return nil, nil, err
	}
	var out []Slot
	bad := k.bad
	for id, slot := range k.slots {
		s := Slot{ID: id, Current: id == r.slot, Cost: slot.Cost}
		if slot.Repo != r.id {
			bad = append(bad, fmt.Errorf("%s: %w", layout.Name(layout.Keys, id), errForeignSlot))
			continue
		}
		plain, err := slot.ReadInfo(r.master)
		if err == nil {
			err = json.Unmarshal(plain, &s.Info)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w: %w", layout.Name(layout.Keys, id), pack.ErrDamaged, err))
			continue
		}
		out = append(out, s)
	}
	for _, names := range k.removing {
		for _, name := range names {
			bad = append(bad, fmt.Errorf("%s: %w", name, errBeingRemoved))
		}
	}
	return out, bad, nil
}
