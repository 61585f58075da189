package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"
)

// A maker writes about size bytes of one kind of file.
type maker func(rng *rand.Rand, size int) []byte

// generate makes a file's bytes from nothing but its seed, so that every run makes the same disk.
func generate(make maker, seed string, size int) []byte { return make(source(seed), size) }

func source(seed string) *rand.Rand { return rand.New(rand.NewChaCha8(sha256.Sum256([]byte(seed)))) }

// text makes prose: it compresses well, as documents do.
func text(rng *rand.Rand, size int) []byte {
	words := bytes.Fields([]byte(`the a of and to in is that it was for on with as at by this from backup disk chunk
		snapshot region machine picture letter garden river window morning people answer question between through`))
	var b bytes.Buffer
	for line := 0; b.Len() < size; {
		word := words[min(rng.IntN(len(words)), rng.IntN(len(words)))]
		b.Write(word)
		if line += len(word) + 1; line > 72 {
			b.WriteByte('\n')
			line = 0
		} else {
			b.WriteByte(' ')
		}
	}
	return b.Bytes()[:size]
}

// program makes something like machine code, which compresses to about a half: common instructions and rarer operands.
func program(rng *rand.Rand, size int) []byte {
	const kinds, length = 128, 4
	instructions := random(rng, kinds*length)
	b := bytes.NewBuffer(append(make([]byte, 0, size+2*length), "\x7fELF\x02\x01\x01"...))
	for b.Len() < size {
		at := min(rng.IntN(kinds), rng.IntN(kinds), rng.IntN(kinds)) * length
		b.Write(instructions[at : at+length])
		if rng.IntN(4) == 0 {
			operand := rng.Uint32() >> rng.IntN(32)
			b.Write(binary.LittleEndian.AppendUint32(nil, operand))
		}
	}
	return b.Bytes()[:size]
}

// photo makes bytes that do not compress, behind the first bytes of a JPEG.
func photo(rng *rand.Rand, size int) []byte {
	return append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), random(rng, size)...)[:size]
}

// logLines makes a system log of one day.
func logLines(rng *rand.Rand, size int) []byte {
	units := []string{"systemd", "sshd", "cron", "kernel", "dhclient"}
	clock := time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	for b.Len() < size {
		clock = clock.Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
		fmt.Fprintf(&b, "%s laptop %s[%d]: session %d: %s", clock.Format(time.Stamp), units[rng.IntN(len(units))],
			300+rng.IntN(900), rng.IntN(1<<20), text(rng, 40+rng.IntN(60)))
		b.WriteByte('\n')
	}
	return b.Bytes()[:size]
}

// pageSize is the unit in which a database changes its file.
const pageSize = 4096

// database makes pages that each hold some records and an unused rest.
func database(rng *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for at := 0; at < size; at += pageSize {
		page := b[at:min(at+pageSize, size)]
		copy(page, random(rng, pageSize/4))
		copy(page[min(pageSize/4, len(page)):], text(rng, pageSize/2))
	}
	return b
}

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b[:n]
}
