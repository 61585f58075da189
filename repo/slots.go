package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/store"
)

// SlotInfo is what people want to know of a password slot. It is sealed under the master key.
type SlotInfo struct {
	Label   string    `json:"label,omitempty"`
	Host    string    `json:"host,omitempty"`
	Created time.Time `json:"created"`
}

// A Slot is a password slot as listed.
type Slot struct {
	ID      pack.ID
	Current bool // the password in use opened this one
	Cost    crypt.Cost
	Info    SlotInfo
}

var (
	// ErrSlotInUse says that a slot cannot be removed because the password in use opens it: somebody who can open the
	// repository must be left.
	ErrSlotInUse = errors.New("the password in use opens this key; change it with 'key passwd', or remove it while using another password")
	// ErrLastSlot says that a slot cannot be removed because no other is left that holds the master key.
	ErrLastSlot = errors.New("this is the last key; without it nobody could open the repository")
	// ErrNoSlot says that an id matches no slot, or several.
	ErrNoSlot = errors.New("no such key; see 'key list'")
)

// readSlots returns the slots that can be read, and an error for each that cannot.
func readSlots(ctx context.Context, s store.Store) (map[pack.ID]*crypt.Slot, []error, error) {
	files, err := list(ctx, s, keysDir)
	if err != nil {
		return nil, nil, err
	}
	slots, bad := map[pack.ID]*crypt.Slot{}, []error(nil)
	for _, f := range files {
		slot, err := readSlot(ctx, s, f.id)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		slots[f.id] = slot
	}
	return slots, bad, ctx.Err()
}

func readSlot(ctx context.Context, s store.Store, id pack.ID) (*crypt.Slot, error) {
	body, err := readNamed(ctx, s, keysDir, id, pack.SlotFile, maxSlot)
	if err != nil {
		return nil, err
	}
	slot, err := crypt.ParseSlot(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", fileName(keysDir, id), pack.ErrDamaged, err)
	}
	return slot, nil
}

// unlock tries a password on every slot. Slots that share a KDF cost one stretch together.
func unlock(ctx context.Context, s store.Store, repo crypt.RepoID, password []byte) (m crypt.MasterKey, id pack.ID, err error) {
	slots, bad, err := readSlots(ctx, s)
	if err != nil {
		return m, id, err
	}
	stretched := map[crypt.KDF][32]byte{}
	for id, slot := range slots {
		if _, ok := stretched[slot.KDF]; !ok {
			if stretched[slot.KDF], err = stretch(ctx, slot.KDF, password); err != nil {
				return m, id, err
			}
		}
		m, err := slot.Unlock(repo, stretched[slot.KDF])
		if err == nil {
			return m, id, nil
		}
		if !errors.Is(err, crypt.ErrWrongPassword) {
			bad = append(bad, fmt.Errorf("%s: %w: %w", fileName(keysDir, id), pack.ErrDamaged, err))
		}
	}
	if len(slots) == 0 {
		return m, id, errors.Join(append([]error{fmt.Errorf("%w: the folder %s holds no key that can be read; put one back from a copy", pack.ErrDamaged, keysDir)}, bad...)...)
	}
	return m, id, errors.Join(append([]error{crypt.ErrWrongPassword}, bad...)...)
}

// stretch gives up waiting when ctx is done; the computation itself cannot be stopped and ends by itself.
func stretch(ctx context.Context, kdf crypt.KDF, password []byte) (stretched [32]byte, err error) {
	done := make(chan [32]byte, 1)
	go func() { done <- kdf.Stretch(password) }()
	select {
	case stretched = <-done:
		debug.FreeOSMemory() // the KDF's tens of megabytes are the most this program ever holds at once
		return stretched, nil
	case <-ctx.Done():
		return stretched, ctx.Err()
	}
}

// putSlot locks the master key up under a password.
func (r *Repo) putSlot(ctx context.Context, kdf crypt.KDF, password []byte, label string) (pack.ID, error) {
	if len(password) == 0 {
		return pack.ID{}, errors.New("an empty password protects nothing")
	}
	host, _ := os.Hostname() // only for people to read
	info, err := json.Marshal(SlotInfo{Label: label, Host: host, Created: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return pack.ID{}, fmt.Errorf("encode key info: %w", err)
	}
	stretched, err := stretch(ctx, kdf, password)
	if err != nil {
		return pack.ID{}, err
	}
	slot := crypt.NewSlot(r.master, r.id, kdf, stretched, pad(info))
	id, _, err := putNamed(ctx, r.store, keysDir, pack.SlotFile, slot.Encode())
	return id, err
}

// AddSlot adds a password. With the cost of a slot that is there it shares that slot's KDF, so that opening with a
// wrong password takes no longer than before.
func (r *Repo) AddSlot(ctx context.Context, password []byte, cost crypt.Cost, label string) (pack.ID, error) {
	if err := cost.Validate(); err != nil {
		return pack.ID{}, err
	}
	slots, _, err := readSlots(ctx, r.store)
	if err != nil {
		return pack.ID{}, err
	}
	kdf := crypt.NewKDF(cost)
	for _, slot := range slots {
		if slot.Cost == cost {
			kdf = slot.KDF
		}
	}
	return r.putSlot(ctx, kdf, password, label)
}

// Slots lists the password slots, and an error for each that cannot be read.
func (r *Repo) Slots(ctx context.Context) ([]Slot, []error, error) {
	slots, bad, err := readSlots(ctx, r.store)
	if err != nil {
		return nil, nil, err
	}
	var out []Slot
	for id, slot := range slots {
		s := Slot{ID: id, Current: id == r.slot, Cost: slot.Cost}
		plain, err := slot.ReadInfo(r.master, r.id)
		if err == nil {
			err = json.Unmarshal(plain, &s.Info)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w: %w", fileName(keysDir, id), pack.ErrDamaged, err))
			continue
		}
		out = append(out, s)
	}
	return out, bad, nil
}

// RemoveSlot removes the slot whose id begins with prefix. It refuses the slot that the password in use opened, and
// the last one.
func (r *Repo) RemoveSlot(ctx context.Context, prefix string) (pack.ID, error) {
	files, err := list(ctx, r.store, keysDir)
	if err != nil {
		return pack.ID{}, err
	}
	var found []pack.ID
	for _, f := range files {
		if len(prefix) > 0 && len(prefix) <= 2*idBytes && f.id.String()[:len(prefix)] == prefix {
			found = append(found, f.id)
		}
	}
	switch {
	case len(found) != 1:
		return pack.ID{}, ErrNoSlot
	case len(files) == 1:
		return pack.ID{}, ErrLastSlot
	case found[0] == r.slot:
		return pack.ID{}, ErrSlotInUse
	}
	return found[0], r.store.Delete(ctx, fileName(keysDir, found[0]))
}

// ChangePassword puts a new password in the place of the one in use: the new slot is durable before the old one goes.
func (r *Repo) ChangePassword(ctx context.Context, password []byte, cost crypt.Cost, label string) (pack.ID, error) {
	old := r.slot
	id, err := r.AddSlot(ctx, password, cost, label)
	if err != nil {
		return pack.ID{}, err
	}
	r.slot = id
	return id, r.store.Delete(ctx, fileName(keysDir, old))
}
