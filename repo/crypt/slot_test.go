package crypt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"
)

var (
	cheap    = Cost{Time: 1, Memory: 64, Lanes: 1}
	testRepo = RepoID{1, 2, 3}
)

func testSlot() (*Slot, [32]byte) {
	kdf := NewKDF(cheap)
	stretched := kdf.Stretch([]byte("right"))
	return NewSlot(testKey(), testRepo, kdf, stretched, []byte("what people say")), stretched
}

func TestSlotRoundTrip(t *testing.T) {
	slot, stretched := testSlot()
	if _, again := testSlot(); again == stretched {
		t.Error("two salts stretch a password to the same")
	}
	p := slot.Encode()
	got, err := ParseSlot(p)
	if err != nil || !reflect.DeepEqual(got, slot) || !bytes.Equal(got.Encode(), p) {
		t.Fatalf("%v, or another slot", err)
	}
	if bytes.Contains(p, []byte("people")) {
		t.Error("what people say can be read without a key")
	}
	m, err := got.Unlock(got.Stretch([]byte("right")))
	if err != nil || m != testKey() {
		t.Fatalf("%v, or another key", err)
	}
	if info, err := got.ReadInfo(m); err != nil || string(info) != "what people say" {
		t.Errorf("info %q, %v", info, err)
	}
	nfc, nfd := got.Stretch([]byte("M\u00fcller")), got.Stretch([]byte("Mu\u0308ller"))
	if nfc != nfd || nfc == got.Stretch([]byte("Muller")) {
		t.Error("an umlaut is another password when it is typed as two characters, or none at all")
	}
	for _, wrong := range []string{"", "righ", "right ", "Right"} {
		m, err := got.Unlock(got.Stretch([]byte(wrong)))
		if !errors.Is(err, ErrWrongPassword) || m != (MasterKey{}) {
			t.Errorf("%q: %v, want ErrWrongPassword and no key", wrong, err)
		}
	}
}

// TestSlotStaysTheSame opens a slot that was written once.
func TestSlotStaysTheSame(t *testing.T) {
	p, err := hex.DecodeString(oldSlot)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := ParseSlot(p)
	if err != nil {
		t.Fatal(err)
	}
	m, err := slot.Unlock(slot.Stretch([]byte("correct horse")))
	if err != nil || m != testKey() {
		t.Fatalf("%v, or another key", err)
	}
	if info, err := slot.ReadInfo(m); err != nil || string(info) != "info" {
		t.Errorf("info %q, %v", info, err)
	}
}

const oldSlot = "" +
	"0102030000000000000000000000000001010000004000000001090000000000000000000000000000000000000000000000" +
	"00000000000000009d43881de706dd463179c5e866babbdcc17a957963d5445bb14f5d0a8aee6a9dceb3dea5d5c6c1a07609" +
	"bd9ad854f8d2da3b24d8df672d117c0c965983e54dcc3523c1f3c7c1aa29b781e0160ca0ca155383069944c40a13d421489c" +
	"5750c3877cb3659f881c8d8c95e4e2573276edf440d549e3da7a59fb20cdec49a9a325443bf3c3561ecaaf4a80082e432cf6" +
	"738a6587864ab8727a9ad3307a51391cc5592ec9790e92baeb744e59ffeb05af59f09a6aab6d"

// TestSlotDamage flips each bit of a slot. The password's stretched form is the right one throughout, so that the seals
// alone must tell: the head of the slot is bound to the key, the commitment to the info.
func TestSlotDamage(t *testing.T) {
	slot, stretched := testSlot()
	p := slot.Encode()
	for bit := range 8 * len(p) {
		bad := slices.Clone(p)
		bad[bit/8] ^= 1 << (bit % 8)
		got, err := ParseSlot(bad)
		if err != nil {
			continue // the head alone gives it away
		}
		m, err := got.Unlock(stretched)
		if at := bit / 8; at < slotLength {
			if err == nil || m != (MasterKey{}) {
				t.Errorf("bit %d of byte %d: unlocks", bit%8, at)
			}
		} else if _, e := got.ReadInfo(m); err != nil || m != testKey() || e == nil {
			t.Errorf("bit %d of byte %d, in the info: %v; reading the info: %v", bit%8, at, err, e)
		}
	}
	for n := range slotLength + overhead {
		if _, err := ParseSlot(p[:n]); err == nil {
			t.Errorf("cut to %d bytes it parses", n)
		}
	}
}

// TestSlotBinding moves parts of slots to where they do not belong.
func TestSlotBinding(t *testing.T) {
	slot, stretched := testSlot()
	other := NewSlot(testKey(), testRepo, slot.KDF, stretched, []byte("another"))
	elsewhere := *slot
	elsewhere.Repo = RepoID{9}
	if _, err := elsewhere.Unlock(stretched); !errors.Is(err, ErrTampered) {
		t.Errorf("said to be of another repository: %v, want ErrTampered", err)
	}
	if _, err := elsewhere.ReadInfo(testKey()); err == nil {
		t.Error("the info opens in another repository")
	}
	for name, change := range map[string]func(s *Slot){
		"another's info":   func(s *Slot) { s.Info = other.Info },
		"another's key":    func(s *Slot) { s.Key = other.Key },
		"another's mix":    func(s *Slot) { s.Mix = other.Mix },
		"another's commit": func(s *Slot) { s.Commit = other.Commit },
		"other mix and commit": func(s *Slot) {
			s.Mix, s.Commit = other.Mix, other.Commit
		},
		"another cost": func(s *Slot) { s.Time++ },
		"another salt": func(s *Slot) { s.Salt[0]++ },
	} {
		moved := *slot
		change(&moved)
		m, err := moved.Unlock(stretched)
		_, infoErr := moved.ReadInfo(testKey())
		if err == nil && infoErr == nil {
			t.Errorf("%s: both the key and the info open", name)
		}
		if err == nil && m != testKey() {
			t.Errorf("%s: another key", name)
		}
		if name != "another's info" && err == nil {
			t.Errorf("%s: unlocks", name)
		}
	}
	// A key of another length under the right seal is no key.
	short := *slot
	key, _ := short.derive(stretched)
	short.Key = newBox(key, slotKey, testRepo, short.head()).Seal(make([]byte, 31))
	if _, err := short.Unlock(stretched); err == nil {
		t.Error("a key of 31 bytes unlocks")
	}
}

// TestEqualPasswordsDoNotShow checks that two slots do not show that they share a password and a salt.
func TestEqualPasswordsDoNotShow(t *testing.T) {
	slot, stretched := testSlot()
	other := NewSlot(testKey(), testRepo, slot.KDF, stretched, []byte("what people say"))
	if slot.Commit == other.Commit || slot.Mix == other.Mix || bytes.Equal(slot.Key, other.Key) || bytes.Equal(slot.Info, other.Info) {
		t.Error("two slots with the same password have something in common")
	}
}

func TestCostBounds(t *testing.T) {
	for _, c := range []Cost{DefaultCost, cheap, {1, 8, 1}, {maxTime, maxMemory, maxLanes}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Cost{
		{},
		{0, 64, 1},
		{maxTime + 1, 64, 1},
		{1, 7, 1},
		{1, 8*4 - 1, 4},
		{1, maxMemory + 1, 1},
		{1, 1 << 30, 1},
		{1, 1<<32 - 1, 1},
		{1<<32 - 1, 64, 1},
		{1, 64, 0},
		{1, 1 << 20, maxLanes + 1},
		{1, 1 << 20, 255},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v passes", c)
		}
	}
}

// TestGreedySlot checks that a slot which asks for 1 TiB is refused before anything is computed or allocated.
func TestGreedySlot(t *testing.T) {
	slot, _ := testSlot()
	for name, change := range map[string]func(p []byte){
		"1 TiB":        func(p []byte) { binary.LittleEndian.PutUint32(p[16+5:], 1<<30) },
		"4 TiB":        func(p []byte) { binary.LittleEndian.PutUint32(p[16+5:], 1<<32-1) },
		"no memory":    func(p []byte) { binary.LittleEndian.PutUint32(p[16+5:], 0) },
		"4 Gi passes":  func(p []byte) { binary.LittleEndian.PutUint32(p[16+1:], 1<<32-1) },
		"no passes":    func(p []byte) { binary.LittleEndian.PutUint32(p[16+1:], 0) },
		"255 lanes":    func(p []byte) { p[16+9] = 255 },
		"no lanes":     func(p []byte) { p[16+9] = 0 },
		"another hash": func(p []byte) { p[16] = 2 },
		"no hash":      func(p []byte) { p[16] = 0 },
	} {
		p := slot.Encode()
		change(p)
		wantRefused(t, name, p)
	}
	wantRefused(t, "64 MiB of info", append(slot.Encode(), make([]byte, 64<<20)...))
}

func wantRefused(t *testing.T, name string, p []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ParseSlot(p)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Errorf("%s: it parses", name)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("%s: refusing it costs %d bytes of memory", name, n)
	}
}

func FuzzParseSlot(f *testing.F) {
	slot, stretched := testSlot()
	seed := slot.Encode()
	f.Add(seed)
	f.Add(seed[:len(seed)-1])
	f.Add(seed[:slotLength+overhead])
	f.Add(NewSlot(MasterKey{}, RepoID{}, KDF{Cost: DefaultCost}, [32]byte{}, nil).Encode())
	for _, at := range []int{0, 15, 16, 17, 20, 24, 25, 26, 58, 90, 122, slotLength} {
		bad := slices.Clone(seed)
		bad[at] ^= 0x81
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := ParseSlot(p)
		if err != nil {
			return
		}
		if again := got.Encode(); !bytes.Equal(again, p) {
			t.Fatalf("%x parses and encodes to %x", p, again)
		}
		if err := got.Validate(); err != nil {
			t.Fatal(err)
		}
		m, err := got.Unlock(stretched)
		if same := bytes.Equal(p[:slotLength], seed[:slotLength]); (err == nil) != same || same && m != testKey() {
			t.Fatal(fmt.Errorf("unlocks: %w", err))
		}
		got.ReadInfo(m)
	})
}
