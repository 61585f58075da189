package pack

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"platter/chunk"
)

// aeadSealer encrypts, as repo/crypt does.
type aeadSealer struct{ cipher.AEAD }

func newSealer(key byte) aeadSealer {
	aead, err := chacha20poly1305.NewX(append(make([]byte, 31), key))
	if err != nil {
		panic(err)
	}
	return aeadSealer{aead}
}

func (s aeadSealer) SealInPlace(buf []byte) []byte {
	rand.Read(buf[:NonceSize])
	return append(buf[:NonceSize], s.Seal(nil, buf[:NonceSize], buf[NonceSize:], nil)...)
}

func (s aeadSealer) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < sealing {
		return nil, errors.New("too short")
	}
	return s.AEAD.Open(sealed[NonceSize:NonceSize], sealed[:NonceSize], sealed[NonceSize:], nil)
}

// nullSealer does not encrypt, so that a fuzzer reaches the code past the seal.
type nullSealer struct{}

func (nullSealer) SealInPlace(buf []byte) []byte {
	clear(buf[:NonceSize])
	return append(buf, make([]byte, TagSize)...)
}

func (nullSealer) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < sealing {
		return nil, errors.New("too short")
	}
	return sealed[NonceSize : len(sealed)-TagSize], nil
}

var (
	realKeys = Keys{Data: newSealer(1), Map: newSealer(2), Table: newSealer(3), Tail: newSealer(4)}
	nullKeys = Keys{Data: nullSealer{}, Map: nullSealer{}, Table: nullSealer{}, Tail: nullSealer{}}
)

func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	mathrand.NewChaCha8([32]byte{seed}).Read(p) // never fails
	return p
}

func text(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = "all work and no play\n"[i%21]
	}
	return p
}

// code returns bytes like a program's: few instructions, and calls of few functions from everywhere.
func code(seed uint64, n int) []byte {
	r := mathrand.New(mathrand.NewPCG(seed, seed))
	p := make([]byte, 0, n+16)
	for len(p) < n {
		if r.IntN(8) == 0 {
			distance := int32(r.IntN(50)*1000) - int32(len(p)+x86Operand)
			p = binary.LittleEndian.AppendUint32(append(p, 0xE8), uint32(distance))
		} else {
			p = append(p, 0x48, 0x8B, byte(r.IntN(16)))
		}
	}
	return p[:n]
}

// openFrame holds the chunks under made-up IDs.
func openFrame(kind chunk.Kind, chunks ...[]byte) *Open {
	o := &Open{Kind: kind}
	for i, c := range chunks {
		o.Add(chunk.ID{byte(kind), byte(i), byte(len(c))}, c)
	}
	return o
}

func (o *Open) frame(sealed []byte) Frame {
	return Frame{o.Kind, uint32(len(sealed)), uint32(len(o.Raw)), uint32(len(o.Chunks))}
}

func newEncoder(t testing.TB, keys Keys) *Encoder {
	return NewEncoder(keys)
}

// encode encodes a frame with the usual compression.
func encode(t testing.TB, e *Encoder, o *Open) []byte {
	t.Helper()
	sealed, err := e.Encode(o, CompressDefault)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func newDecoder(t testing.TB, keys Keys) *Decoder {
	d, err := NewDecoder(keys, 1)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// testFrames returns frames of every sort that a backup makes.
func testFrames() []*Open {
	return []*Open{
		openFrame(chunk.Data, noise(1, 5000), noise(2, 4096)),
		openFrame(chunk.Data, text(70000), text(1), text(4096)),
		openFrame(chunk.Map, noise(3, 37)),
		openFrame(chunk.Data, []byte{0}),
		openFrame(chunk.Map, text(9000), noise(4, 33)),
	}
}

// buildPack returns a pack of the frames.
func buildPack(t testing.TB, keys Keys, frames []*Open) ([]byte, FileID, *Table) {
	e, b := newEncoder(t, keys), NewBuilder(nil)
	for _, o := range frames {
		b.Add(o, encode(t, e, o))
	}
	return b.Finish(keys)
}

// readerOf reads from memory as a store does: it returns fewer bytes only at the file's end.
func readerOf(file []byte) func(off, n int64) ([]byte, error) {
	return func(off, n int64) ([]byte, error) {
		if off < 0 || n < 0 {
			return nil, fmt.Errorf("read of %d bytes at %d", n, off)
		}
		from := min(off, int64(len(file)))
		return slices.Clone(file[from:min(from+n, int64(len(file)))]), nil
	}
}

var errRead = fmt.Errorf("read: %w", io.ErrUnexpectedEOF)

// wantDamaged fails unless err is ErrDamaged and not ErrNewer.
func wantDamaged(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer) {
		t.Errorf("%s: %v, want ErrDamaged", what, err)
	}
}
