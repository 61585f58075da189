package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// blockSize is what makeDisk makes a disk of.
const blockSize = 64 << 10

// makeDisk writes a disk that follows from size, seed and kind alone, and whose beginning does not depend on its size.
func makeDisk(path string, size int64, seed uint64, kind string) error {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	maker := &diskMaker{rng: rand.NewChaCha8(key), block: make([]byte, blockSize)}
	fill, ok := map[string]func(int64) []byte{
		"zeros": func(int64) []byte { return nil }, "random": maker.random, "text": maker.text,
		"mixed": maker.mixed, "sparse": maker.sparse,
	}[kind]
	if !ok {
		return fmt.Errorf("mkdisk: no kind of content called %q", kind)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for off := int64(0); off < size && err == nil; off += blockSize {
		if b := fill(off / blockSize); b != nil {
			_, err = f.WriteAt(b[:min(blockSize, size-off)], off)
		}
	}
	return errors.Join(err, f.Truncate(size), f.Close()) // unwritten blocks are holes
}

type diskMaker struct {
	rng    *rand.ChaCha8
	block  []byte
	copied []byte // by mixed: a block that comes again
}

func (m *diskMaker) random(int64) []byte {
	m.rng.Read(m.block)
	return m.block
}

// text is words, which compress to about a quarter.
func (m *diskMaker) text(int64) []byte {
	const words = "disk region extent chunk frame pack index map snapshot store the of a and to in is it was that keeps reads"
	list := bytes.Fields([]byte(words))
	out := m.block[:0]
	for len(out) < blockSize {
		out = append(append(out, list[m.rng.Uint64()%uint64(len(list))]...), ' ')
	}
	return out[:blockSize]
}

// mixed is a bit of everything: random bytes, text, holes, and blocks that were there before.
func (m *diskMaker) mixed(block int64) []byte {
	switch m.rng.Uint64() % 4 {
	case 0:
		return m.random(block)
	case 1:
		m.copied = bytes.Clone(m.text(block))
		return m.copied
	case 2:
		return m.copied
	}
	return nil
}

// sparse is one random block in every 256, and holes.
func (m *diskMaker) sparse(block int64) []byte {
	if block%256 != 0 {
		return nil
	}
	return m.random(block)
}

func TestMakeDisk(t *testing.T) {
	dir := t.TempDir()
	sum := func(size int64, seed uint64, kind string) []byte {
		path := filepath.Join(dir, "disk")
		if err := makeDisk(path, size, seed, kind); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || int64(len(data)) != size {
			t.Fatalf("%s: %d bytes, %v", kind, len(data), err)
		}
		return data
	}
	for _, kind := range []string{"zeros", "random", "text", "mixed", "sparse"} {
		const size = 20*blockSize + 123
		a := sum(size, 1, kind)
		if !bytes.Equal(a, sum(size, 1, kind)) || !bytes.Equal(a[:5000], sum(5000, 1, kind)) {
			t.Errorf("%s: not always the same", kind)
		}
		if bytes.Equal(a, sum(size, 2, kind)) != (kind == "zeros") {
			t.Errorf("%s: the seed does not matter, or should not", kind)
		}
	}
}
