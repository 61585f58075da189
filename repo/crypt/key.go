// Package crypt holds the keys of a repository: one random master key, one key for each purpose, and the slots in
// which the master key is locked under passwords.
//
// Its promise: what opens was sealed by a holder of the master key, for the same purpose, in the same repository; and
// a password can be tried only at the price of its slot's key derivation.
package crypt

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/chacha20poly1305"
)

// A MasterKey is the secret from which all others of a repository derive.
type MasterKey [32]byte

// A RepoID identifies a repository. It is not a secret.
type RepoID [16]byte

// NewMasterKey draws a key.
func NewMasterKey() (k MasterKey) { rand.Read(k[:]); return k }

// NewRepoID draws an ID.
func NewRepoID() (id RepoID) { rand.Read(id[:]); return id }

// A Purpose is what a key is for. The numbers are part of the format.
type Purpose uint8

const (
	DataIDs    Purpose = 1
	MapIDs     Purpose = 2
	Cuts       Purpose = 3
	DataFrames Purpose = 4
	MapFrames  Purpose = 5
	Tables     Purpose = 6
	Indexes    Purpose = 7
	Snapshots  Purpose = 8
	Config     Purpose = 9
	SlotInfo   Purpose = 10
	slotKey    Purpose = 11 // sealed under a password's key, not under one of the master key's
	Tails      Purpose = 12
	LocalIndex Purpose = 13 // not of a file in the store: it authenticates the index that a machine keeps for itself
	Leases     Purpose = 14
	Markers    Purpose = 15
	Forgotten  Purpose = 16
	LocalState Purpose = 17 // not of a file in the store: it authenticates what a machine remembers
	Verdicts   Purpose = 18
)

// contexts are BLAKE3 derive_key contexts: part of the format, never to be changed or used for anything else.
var contexts = map[Purpose]string{
	DataIDs:    "platter 2026-11-21 data chunk ids v1",
	MapIDs:     "platter 2026-11-21 map chunk ids v1",
	Cuts:       "platter 2026-11-21 chunker polynomial v1",
	DataFrames: "platter 2026-11-21 data frames v1",
	MapFrames:  "platter 2026-11-21 map frames v1",
	Tables:     "platter 2026-11-21 pack tables v1",
	Indexes:    "platter 2026-11-21 index files v1",
	Snapshots:  "platter 2026-11-21 snapshot files v1",
	Config:     "platter 2026-11-21 config v1",
	SlotInfo:   "platter 2026-11-21 slot info v1",
	slotKey:    "platter 2026-11-21 password slot v1",
	Tails:      "platter 2026-11-21 pack tails v1",
	LocalIndex: "platter 2026-11-21 local index v1",
	Leases:     "platter 2026-11-24 leases v1",
	Markers:    "platter 2026-11-24 plans v1",
	Forgotten:  "platter 2026-11-24 forgotten snapshots v1",
	LocalState: "platter 2026-11-24 local state v1",
	Verdicts:   "platter 2026-11-28 verdicts v1",
}

// Key returns the key for a purpose.
func (m MasterKey) Key(p Purpose) (key [32]byte) {
	blake3.DeriveKey(contexts[p], m[:], key[:])
	return key
}

// Stream returns an endless stream of secret bytes for a purpose: always the same.
func (m MasterKey) Stream(p Purpose) io.Reader {
	h := blake3.NewDeriveKey(contexts[p])
	h.Write(m[:])
	return h.Digest()
}

// A Box seals and opens for one purpose in one repository with XChaCha20-Poly1305: 24 bytes of random nonce, the
// ciphertext, 16 bytes of tag. The associated data are the format's version, the purpose and the repository's id, so
// nothing that was sealed for one thing passes for another. It is safe for concurrent use.
type Box struct {
	aead cipher.AEAD
	ad   []byte
}

// NewBox returns the Box for a purpose.
func NewBox(m MasterKey, p Purpose, repo RepoID) *Box { return newBox(m.Key(p), p, repo, nil) }

func newBox(key [32]byte, p Purpose, repo RepoID, bound []byte) *Box {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic(err) // only for keys of another length
	}
	ad := binary.LittleEndian.AppendUint16(nil, 1)
	ad = append(append(append(ad, byte(p)), repo[:]...), bound...)
	return &Box{aead, ad}
}

const (
	nonceSize = chacha20poly1305.NonceSizeX
	overhead  = nonceSize + chacha20poly1305.Overhead

	// Overhead is the number of bytes that sealing adds.
	Overhead = overhead
)

// errNotOpened says no more than this on purpose: the cipher cannot tell why.
var errNotOpened = errors.New("it does not decrypt")

// SealInPlace encrypts buf[24:] in place, with a fresh nonce in buf[:24], and returns buf with the tag after it.
func (b *Box) SealInPlace(buf []byte) []byte {
	buf = slices.Grow(buf, chacha20poly1305.Overhead) // or else Seal would move the ciphertext
	nonce, plain := buf[:nonceSize], buf[nonceSize:]
	rand.Read(nonce)
	sealed := b.aead.Seal(plain[:0], nonce, plain, b.ad)
	return buf[:nonceSize+len(sealed)]
}

// Seal returns the sealed plaintext in memory of its own.
func (b *Box) Seal(plain []byte) []byte {
	buf := make([]byte, nonceSize, overhead+len(plain))
	return b.SealInPlace(append(buf, plain...))
}

// Open decrypts in place: the plaintext is a part of sealed.
func (b *Box) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < overhead {
		return nil, fmt.Errorf("%w: %d bytes", errNotOpened, len(sealed))
	}
	plain, err := b.aead.Open(sealed[nonceSize:nonceSize], sealed[:nonceSize], sealed[nonceSize:], b.ad)
	if err != nil {
		return nil, errNotOpened
	}
	return plain, nil
}
