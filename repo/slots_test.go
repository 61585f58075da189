package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

func opens(t testing.TB, s store.Store, password string) bool {
	t.Helper()
	r, err := Open(context.Background(), s, []byte(password))
	if err != nil && !errors.Is(err, crypt.ErrWrongPassword) {
		t.Fatalf("%q: %v", password, err)
	}
	return r != nil
}

// TestSlotsShareTheirCost checks that a wrong password costs one key derivation, however many slots there are. Slots of
// the same cost as the slot in use share its salt.
func TestSlotsShareTheirCost(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := testRepo(t, mem)
	dear := cheap
	dear.Time++
	for i := range 6 {
		cost := cheap
		if i >= 4 {
			cost = dear
		}
		if _, err := r.AddSlot(ctx, fmt.Appendf(nil, "pw%d", i), cost, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	k, err := readSlots(ctx, mem)
	if err != nil || len(k.bad) > 0 || len(k.slots) != 7 {
		t.Fatalf("%+v, %v", k, err)
	}
	kdfs, mixes := map[crypt.KDF]int{}, map[[32]byte]bool{}
	for _, slot := range k.slots {
		kdfs[slot.KDF]++
		mixes[slot.Mix] = true
	}
	if len(kdfs) != 3 || len(mixes) != 7 {
		t.Errorf("5 slots of the cost in use and 2 others have %d key derivations and %d mixes", len(kdfs), len(mixes))
	}
	for kdf, n := range kdfs {
		if want := map[crypt.Cost]int{cheap: 5, dear: 1}[kdf.Cost]; n != want {
			t.Errorf("%d slots of cost %+v, want %d", n, kdf.Cost, want)
		}
	}
	for i := range 6 {
		if !opens(t, mem, fmt.Sprintf("pw%d", i)) {
			t.Errorf("password %d does not open", i)
		}
	}
	if !opens(t, mem, "pw") || opens(t, mem, "pw6") || opens(t, mem, "") {
		t.Error("the first password does not open, or a wrong one does")
	}
	list, bad, err := r.Slots(ctx)
	if err != nil || len(bad) > 0 || len(list) != 7 {
		t.Fatalf("%d slots listed, %v, %v", len(list), bad, err)
	}
	current, labels := 0, map[string]bool{}
	for _, slot := range list {
		labels[slot.Info.Label] = true
		if slot.Current {
			current++
			if slot.Info.Label != "test" || slot.Cost != cheap {
				t.Errorf("in use is said to be %+v", slot)
			}
		}
	}
	if current != 1 || len(labels) != 7 {
		t.Errorf("%d slots are in use; labels %v", current, labels)
	}
}

// TestManyCosts checks that the cheapest slots are tried, and that the error says if some are not.
func TestManyCosts(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := testRepo(t, mem)
	for i := range maxKDFs + 3 {
		kdf := crypt.NewKDF(crypt.Cost{Time: 2, Memory: 64 + uint32(i), Lanes: 1})
		if _, err := r.putSlot(ctx, kdf, fmt.Appendf(nil, "pw%d", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.AddSlot(ctx, []byte("more"), crypt.Cost{Time: 3, Memory: 64, Lanes: 1}, ""); err == nil {
		t.Error("a password is added that might not be tried")
	}
	if _, err := r.AddSlot(ctx, []byte("more"), cheap, ""); err != nil || !opens(t, mem, "more") {
		t.Errorf("a password of the cost in use: %v", err)
	}
	last := fmt.Sprintf("pw%d", maxKDFs-2)
	if !opens(t, mem, "pw") || !opens(t, mem, "pw0") || !opens(t, mem, last) {
		t.Error("a password whose slot is among the cheapest does not open")
	}
	_, err := Open(ctx, mem, []byte("wrong"))
	if !errors.Is(err, crypt.ErrWrongPassword) || !strings.Contains(err.Error(), fmt.Sprint(maxKDFs)) {
		t.Errorf("%v, want that some were not tried", err)
	}
}

func TestBadPasswordsAndCosts(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	if _, err := Init(ctx, mem, nil, cheap, "", DefaultSettings); err == nil {
		t.Error("an empty password makes a repository")
	}
	if _, err := Init(ctx, mem, []byte("pw"), crypt.Cost{Time: 1, Memory: 1 << 30, Lanes: 1}, "", DefaultSettings); err == nil {
		t.Error("a cost of 1 TiB makes a repository")
	}
	if _, err := Init(ctx, mem, []byte("pw"), cheap, "", Settings{}); err == nil {
		t.Error("no settings make a repository")
	}
	if len(storetest.Files(t, mem)) > 0 {
		t.Error("a refused Init leaves files")
	}
	r := testRepo(t, mem)
	if _, err := r.AddSlot(ctx, nil, cheap, ""); err == nil {
		t.Error("an empty password is added")
	}
	if _, err := r.ChangePassword(ctx, nil, cheap, ""); err == nil || !opens(t, mem, "pw") {
		t.Errorf("changing to an empty password: %v", err)
	}
	if _, err := r.AddSlot(ctx, []byte("x"), crypt.Cost{}, ""); err == nil {
		t.Error("a password that costs nothing is added")
	}
}

func TestRemoveSlot(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := testRepo(t, mem)
	first := r.slot.String()
	for name, prefix := range map[string]string{"whole": first, "short": first[:1]} {
		if _, err := r.RemoveSlot(ctx, prefix); !errors.Is(err, ErrLastSlot) {
			t.Errorf("the last slot, by %s id: %v", name, err)
		}
	}
	second, err := r.AddSlot(ctx, []byte("second"), cheap, "")
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for second.String()[same] == first[same] {
		same++
	}
	none := "0000000000"
	for name, test := range map[string]struct {
		prefix string
		want   error
	}{
		"in use":    {first, ErrSlotInUse},
		"nothing":   {"", ErrNoSlot},
		"unknown":   {none, ErrNoSlot},
		"both":      {first[:same], ErrNoSlot},
		"too long":  {second.String() + "0", ErrNoSlot},
		"no digits": {"../config", ErrNoSlot},
	} {
		if _, err := r.RemoveSlot(ctx, test.prefix); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if !opens(t, mem, "pw") || !opens(t, mem, "second") {
		t.Fatal("a refused removal removes")
	}
	if got, err := r.RemoveSlot(ctx, second.String()[:same+1]); err != nil || got != second {
		t.Fatalf("%v, %v", got, err)
	}
	if !opens(t, mem, "pw") || opens(t, mem, "second") {
		t.Error("the wrong slot was removed, or none")
	}
}

func TestChangePassword(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	mem := storetest.MemOf(t, x.files)
	r := reopen(t, mem)
	dear := crypt.Cost{Time: 2, Memory: 128, Lanes: 2}
	id, err := r.ChangePassword(ctx, []byte("new"), dear, "label")
	if err != nil {
		t.Fatal(err)
	}
	if opens(t, mem, "pw") || !opens(t, mem, "new") || !opens(t, mem, "second") {
		t.Error("the old password opens, or another does not")
	}
	list, bad, err := r.Slots(ctx)
	if err != nil || len(bad) > 0 || len(list) != 2 {
		t.Fatalf("%+v, %v, %v", list, bad, err)
	}
	for _, slot := range list {
		if slot.Current != (slot.ID == id) || slot.Current && (slot.Cost != dear || slot.Info.Label != "label") {
			t.Errorf("%+v", slot)
		}
	}
	again, err := Open(ctx, mem, []byte("new"))
	if err == nil {
		err = again.LoadIndex(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	wantLoads(t, again, x.chunks)
	if _, err := again.ChangePassword(ctx, []byte("new"), cheap, ""); err != nil || !opens(t, mem, "new") {
		t.Errorf("changing to the same password: %v", err)
	}
}

// TestDamagedSlotBesideGoodOne opens with the good slot, lists both, and removes the damaged one.
func TestDamagedSlotBesideGoodOne(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := testRepo(t, mem)
	second, err := r.AddSlot(ctx, []byte("second"), cheap, "")
	if err != nil {
		t.Fatal(err)
	}
	name := layout.Name(layout.Keys, second)
	storetest.Flip(t, mem, name)
	r = reopen(t, mem)
	list, bad, err := r.Slots(ctx)
	if err != nil || len(list) != 1 || len(bad) != 1 || !errors.Is(bad[0], pack.ErrDamaged) || !strings.Contains(bad[0].Error(), name) {
		t.Fatalf("%+v, %v, %v", list, bad, err)
	}
	if _, err := Open(ctx, mem, []byte("second")); !errors.Is(err, crypt.ErrWrongPassword) || !strings.Contains(err.Error(), name) {
		t.Errorf("the damaged slot's password: %v", err)
	}
	if _, err := r.RemoveSlot(ctx, second.String()); err != nil {
		t.Errorf("removing the damaged slot: %v", err)
	}
	if _, bad, err := r.Slots(ctx); err != nil || len(bad) > 0 || !opens(t, mem, "pw") {
		t.Errorf("%v, %v", bad, err)
	}
}

func TestOpenCancelled(t *testing.T) {
	mem := new(store.Mem)
	testRepo(t, mem)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, mem, []byte("pw")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
