package crypt

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

var (
	// ErrWrongPassword says that a password opens none of the slots it was tried on.
	ErrWrongPassword = errors.New("wrong password")
	// ErrTampered says that a password matches a slot, but that the slot was changed.
	ErrTampered = errors.New("the password is right, but the key under it was tampered with")
	// ErrUnknownKDF says that a slot uses a key derivation that this code does not know.
	ErrUnknownKDF = errors.New("unknown key derivation")
)

// A Cost is what it costs to try one password (Argon2id, RFC 9106).
type Cost struct {
	Time   uint32 `json:"passes"`
	Memory uint32 `json:"memory_kib"`
	Lanes  uint8  `json:"lanes"`
}

// DefaultCost is the second choice of RFC 9106, section 4: 64 MiB, which a rescue system has.
var DefaultCost = Cost{Time: 3, Memory: 64 << 10, Lanes: 4}

// Bounds of a Cost. They are checked before anything is computed: no file in a store may ask for a terabyte.
const (
	maxTime   = 128
	maxMemory = 2 << 20 // KiB
	maxLanes  = 64
)

// Validate returns an error that names the bound that is violated.
func (c Cost) Validate() error {
	switch {
	case c.Time < 1 || c.Time > maxTime:
		return fmt.Errorf("password cost: %d passes; want 1 to %d", c.Time, maxTime)
	case c.Lanes < 1 || c.Lanes > maxLanes:
		return fmt.Errorf("password cost: %d lanes; want 1 to %d", c.Lanes, maxLanes)
	case c.Memory < 8*uint32(c.Lanes) || c.Memory > maxMemory:
		return fmt.Errorf("password cost: %d KiB; want %d to %d", c.Memory, 8*uint32(c.Lanes), maxMemory)
	}
	return nil
}

// A KDF stretches passwords. Slots may share one, so that a password is stretched once for all of them; the Mix of each
// slot keeps equal passwords from showing.
type KDF struct {
	Cost
	Salt [32]byte
}

// NewKDF draws a salt.
func NewKDF(c Cost) KDF {
	k := KDF{Cost: c}
	rand.Read(k.Salt[:])
	return k
}

// Stretch spends the KDF's cost on a password. The password is brought into Unicode's form NFC first: an umlaut is typed as
// one character on some systems and as two on others.
func (k KDF) Stretch(password []byte) (stretched [32]byte) {
	copy(stretched[:], argon2.IDKey(norm.NFC.Bytes(password), k.Salt[:], k.Time, k.Memory, k.Lanes, 32))
	return stretched
}

// A Slot holds the master key, locked under one password.
//
//	+---------+-----+-------+--------+-------+------+-----+--------+---------------+-------------+
//	| repo id | kdf | time  | memory | lanes | salt | mix | commit | sealed master | sealed info |
//	| 16      | u8  | u32   | u32    | u8    | 32   | 32  | 32     | key 72        | to the end  |
//	+---------+-----+-------+--------+-------+------+-----+--------+---------------+-------------+
//
// The repository's ID is here and nowhere else, so it is lost only with the last slot. kdf is 1 for Argon2id. The slot's key and
// commit are BLAKE3 derive_key of the stretched password and mix. commit ties the slot to one password: XChaCha20-Poly1305 alone
// would let a slot be made that two passwords open. Everything before the sealed master key is its associated data.
type Slot struct {
	Repo RepoID
	KDF
	Mix    [32]byte
	Commit [32]byte
	Key    []byte // the master key, sealed
	Info   []byte // what the user says about the slot, sealed under the master key
}

const (
	slotHead   = 16 + 1 + 4 + 4 + 1 + 3*32
	sealedKey  = overhead + 32
	maxInfo    = 64 << 10
	argon2id   = 1
	slotLength = slotHead + sealedKey
)

// NewSlot locks the master key under a stretched password, with info that any holder of the master key can read.
func NewSlot(m MasterKey, repo RepoID, kdf KDF, stretched [32]byte, info []byte) *Slot {
	s := &Slot{Repo: repo, KDF: kdf}
	rand.Read(s.Mix[:])
	key, commit := s.derive(stretched)
	s.Commit = commit
	s.Key = newBox(key, slotKey, repo, s.head()).Seal(m[:])
	s.Info = s.infoBox(m).Seal(info)
	return s
}

// Unlock returns the master key. The error is ErrWrongPassword, or says that the slot was tampered with.
func (s *Slot) Unlock(stretched [32]byte) (m MasterKey, err error) {
	key, commit := s.derive(stretched)
	if subtle.ConstantTimeCompare(commit[:], s.Commit[:]) != 1 {
		return m, ErrWrongPassword
	}
	plain, err := newBox(key, slotKey, s.Repo, s.head()).Open(append([]byte(nil), s.Key...))
	if err != nil || len(plain) != len(m) {
		return m, ErrTampered
	}
	return MasterKey(plain), nil
}

// ReadInfo opens what people say of the slot.
func (s *Slot) ReadInfo(m MasterKey) ([]byte, error) {
	return s.infoBox(m).Open(append([]byte(nil), s.Info...))
}

func (s *Slot) infoBox(m MasterKey) *Box {
	return newBox(m.Key(SlotInfo), SlotInfo, s.Repo, s.Commit[:])
}

func (s *Slot) derive(stretched [32]byte) (key, commit [32]byte) {
	var out [64]byte
	blake3.DeriveKey(contexts[slotKey], append(stretched[:], s.Mix[:]...), out[:])
	return [32]byte(out[:32]), [32]byte(out[32:])
}

func (s *Slot) head() []byte {
	h := append(make([]byte, 0, slotHead), s.Repo[:]...)
	h = append(h, argon2id)
	h = binary.LittleEndian.AppendUint32(h, s.Time)
	h = binary.LittleEndian.AppendUint32(h, s.Memory)
	h = append(append(append(h, s.Lanes), s.Salt[:]...), s.Mix[:]...)
	return append(h, s.Commit[:]...)
}

// Encode returns the slot's bytes.
func (s *Slot) Encode() []byte { return append(append(s.head(), s.Key...), s.Info...) }

// ParseSlot reads a slot's bytes.
func ParseSlot(p []byte) (*Slot, error) {
	if len(p) < slotLength+overhead || len(p) > slotLength+overhead+maxInfo {
		return nil, fmt.Errorf("slot of %d bytes", len(p))
	}
	repo := RepoID(p)
	if p = p[len(repo):]; p[0] != argon2id {
		return nil, fmt.Errorf("%w %d", ErrUnknownKDF, p[0])
	}
	s := &Slot{Repo: repo, KDF: KDF{Cost: Cost{
		Time: binary.LittleEndian.Uint32(p[1:]), Memory: binary.LittleEndian.Uint32(p[5:]), Lanes: p[9],
	}}}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	p = p[10:]
	p = p[copy(s.Salt[:], p):]
	p = p[copy(s.Mix[:], p):]
	p = p[copy(s.Commit[:], p):]
	s.Key = append([]byte(nil), p[:sealedKey]...)
	s.Info = append([]byte(nil), p[sealedKey:]...)
	return s, nil
}
