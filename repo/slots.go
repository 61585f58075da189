package repo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
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
	Config  Config    `json:"config"` // a copy, for when the file is lost
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
	if errors.Is(err, crypt.ErrUnknownKDF) {
		return nil, fmt.Errorf("%s: %w (%w)", fileName(keysDir, id), pack.ErrNewer, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", fileName(keysDir, id), pack.ErrDamaged, err)
	}
	return slot, nil
}

// maxKDFs bounds how many ways of stretching are tried: each has a price that whoever owns the NAS may have set.
const maxKDFs = 16

// unlock tries a password on every slot, cheap ones first, until one has the key of the sealed config. Slots that share a
// KDF cost one stretch together.
func (r *Repo) unlock(ctx context.Context, password, sealed []byte) error {
	slots, bad, err := readSlots(ctx, r.store)
	if err != nil {
		return err
	}
	var opened error // what is wrong although the password is right
	unread := slices.IndexFunc(bad, func(err error) bool { return !unmendable(err) })
	stretched := map[crypt.KDF][32]byte{}
	for _, id := range byPrice(slots) {
		slot := slots[id]
		if _, ok := stretched[slot.KDF]; !ok {
			if len(stretched) == maxKDFs {
				bad = append(bad, fmt.Errorf("%s: there are more than %d different costs or salts of keys; it was not tried", fileName(keysDir, id), maxKDFs))
				continue
			}
			if stretched[slot.KDF], err = stretch(ctx, slot.KDF, password); err != nil {
				return err
			}
		}
		m, err := slot.Unlock(stretched[slot.KDF])
		switch {
		case err == nil:
			r.master, r.slot, r.id = m, id, slot.Repo
			if r.config, err = openConfig(crypt.NewBox(m, crypt.Config, slot.Repo), sealed); err == nil {
				return nil
			}
			opened = fmt.Errorf("%s: %w", configName, err)
		case errors.Is(err, crypt.ErrTampered):
			opened = fmt.Errorf("%s: %w: %w", fileName(keysDir, id), pack.ErrDamaged, err)
		}
	}
	why := cmp.Or(opened, crypt.ErrWrongPassword)
	if len(slots) == 0 {
		why = fmt.Errorf("%w: the folder %s holds no key that can be read; put one back from a copy", pack.ErrDamaged, keysDir)
	}
	if opened == nil && unread >= 0 { // the right key may be the one that could not be read now
		return fmt.Errorf("read keys: %w", bad[unread])
	}
	return errors.Join(append([]error{why}, bad...)...)
}

// byPrice sorts slots by what a try costs.
func byPrice(slots map[pack.ID]*crypt.Slot) []pack.ID {
	price := func(id pack.ID) uint64 { return uint64(slots[id].Time) * uint64(slots[id].Memory) }
	return slices.SortedFunc(maps.Keys(slots), func(a, b pack.ID) int {
		return cmp.Or(cmp.Compare(price(a), price(b)), slices.Compare(a[:], b[:]))
	})
}

// stretch gives up waiting when ctx is done; the computation itself cannot be stopped and ends by itself.
func stretch(ctx context.Context, kdf crypt.KDF, password []byte) (stretched [32]byte, err error) {
	done := make(chan [32]byte, 1)
	go func() { done <- kdf.Stretch(password) }()
	select {
	case stretched = <-done:
		if kdf.Memory >= 1<<10 { // KiB; the KDF's tens of megabytes are the most this program ever holds at once
			debug.FreeOSMemory()
		}
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
	info, err := json.Marshal(SlotInfo{Label: label, Host: host, Created: time.Now().UTC().Truncate(time.Second), Config: r.config})
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

// AddSlot adds a password. With the cost of the slot in use it shares that slot's KDF, so that opening with a wrong
// password takes no longer than before. No other slot's would do: only this one has proved who made it.
func (r *Repo) AddSlot(ctx context.Context, password []byte, cost crypt.Cost, label string) (pack.ID, error) {
	if err := errors.Join(cost.Validate(), r.writable()); err != nil {
		return pack.ID{}, err
	}
	slots, _, err := readSlots(ctx, r.store)
	if err != nil {
		return pack.ID{}, err
	}
	kdf := crypt.NewKDF(cost)
	kdfs := map[crypt.KDF]bool{kdf: true}
	for _, slot := range slots {
		kdfs[slot.KDF] = true
	}
	if current := slots[r.slot]; current != nil && current.Cost == cost {
		kdf = current.KDF
	} else if len(kdfs) > maxKDFs {
		return pack.ID{}, fmt.Errorf("there are %d keys of different costs or salts; remove one, or use the cost of the key in use", len(kdfs)-1)
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
		plain, err := slot.ReadInfo(r.master)
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
	if err := r.writable(); err != nil {
		return pack.ID{}, err
	}
	files, err := list(ctx, r.store, keysDir)
	if err != nil {
		return pack.ID{}, err
	}
	slots, bad, err := readSlots(ctx, r.store)
	if err != nil {
		return pack.ID{}, err
	}
	if i := slices.IndexFunc(bad, func(err error) bool { return !unmendable(err) }); i >= 0 { // it may be the last but one
		return pack.ID{}, fmt.Errorf("read keys: %w", bad[i])
	}
	var found []pack.ID // damaged ones too
	for _, f := range files {
		if len(prefix) > 0 && strings.HasPrefix(f.id.String(), prefix) {
			found = append(found, f.id)
		}
	}
	switch {
	case len(found) != 1:
		return pack.ID{}, ErrNoSlot
	case slots[found[0]] != nil && len(slots) == 1:
		return pack.ID{}, ErrLastSlot
	case found[0] == r.slot:
		return pack.ID{}, ErrSlotInUse
	case slots[r.slot] == nil:
		return pack.ID{}, errors.New("the key in use is not there any more, so nothing else is removed; open the repository anew")
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
