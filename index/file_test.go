package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"platter/chunk"
	"platter/pack"
)

func TestFileRoundTrip(t *testing.T) {
	for seed := range uint64(20) {
		f := randomFile(rand.New(rand.NewPCG(seed, 1)), int(seed))
		buf := f.Encode(3, 5)
		p := buf[3:]
		if len(p)%align != 0 || cap(buf) < len(buf)+5 || !bytes.Equal(buf[:3], make([]byte, 3)) || !bytes.Equal(p, f.Encode(0, 0)) {
			t.Errorf("seed %d: %d bytes with capacity for %d more, want a multiple of %d and capacity for 5", seed, len(p), cap(buf)-len(buf), align)
		}
		got, err := Decode(p)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Fatalf("seed %d: %v, or the file differs", seed, err)
		}
		if again := got.Encode(0, 0); !bytes.Equal(again, p) {
			t.Fatalf("seed %d: decoding and encoding changes the bytes", seed)
		}
	}
}

func TestDecodeDamage(t *testing.T) {
	whole := randomFile(rand.New(rand.NewPCG(1, 2)), 3).Encode(0, 0)
	content := len(bytes.TrimRight(whole, "\x00"))
	for n := range content {
		if _, err := Decode(whole[:n]); !errors.Is(err, pack.ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
	le := binary.LittleEndian
	head := func(superseded, packs uint32) []byte { return le.AppendUint32(le.AppendUint32(nil, superseded), packs) }
	badTable := le.AppendUint32(append(head(0, 1), make([]byte, idSize)...), 4096)
	badTable = (&pack.Table{Frames: []pack.Frame{{Kind: 7, Sealed: 42, Raw: 1, Chunks: 1}}, Chunks: []pack.Ref{{ID: chunk.ID{1}, Len: 1}}}).AppendTo(badTable)
	for name, p := range map[string][]byte{
		"nothing": nil, "a block behind": append(slices.Clone(whole), make([]byte, align)...), "a byte in the padding": append(slices.Clone(whole[:len(whole)-1]), 1), "many superseded": head(1<<32-1, 0), "many packs": head(0, 1<<32-1),
		"many of both": head(1<<32-1, 1<<32-1), "a bad table": badTable,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(p)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, pack.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes cost %d of memory", name, len(p), n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for n := range 4 {
		seed := bytes.TrimRight(randomFile(rand.New(rand.NewPCG(uint64(n), 3)), n).Encode(0, 0), "\x00")
		for zeros := range 5 { // few of them, so that a fuzzer has few bytes to try
			f.Add(append(slices.Clone(seed), make([]byte, zeros)...))
		}
	}
	f.Add((&File{Supersedes: []pack.FileID{{1}}}).Encode(0, 0))
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		file, err := Decode(p)
		if err != nil {
			if !errors.Is(err, pack.ErrDamaged) {
				t.Fatalf("%v, want ErrDamaged", err)
			}
			return
		}
		again := file.Encode(0, 0)
		if same, err := Decode(again); err != nil || !reflect.DeepEqual(same, file) || !bytes.Equal(bytes.TrimRight(again, "\x00"), bytes.TrimRight(p, "\x00")) {
			t.Fatalf("%x decodes and encodes to %x", p, again)
		}
		x := new(Index)
		for _, p := range file.Packs {
			x.AddPack(p.Pack, p.Table)
		}
		for _, p := range file.Packs {
			for _, ref := range p.Table.Chunks {
				if loc, ok := x.Lookup(ref.ID); ok && uint64(loc.Start)+uint64(loc.Len) > uint64(loc.Frame.Raw) {
					t.Fatalf("%v is at %+v", ref.ID, loc)
				}
			}
		}
	})
}
