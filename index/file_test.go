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
		p := f.AppendTo([]byte("x"))[1:]
		if len(p) != f.EncodedSize() {
			t.Errorf("seed %d: %d bytes, said to be %d", seed, len(p), f.EncodedSize())
		}
		got, err := Decode(p)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Fatalf("seed %d: %v, or another file", seed, err)
		}
		if again := got.AppendTo(nil); !bytes.Equal(again, p) {
			t.Fatalf("seed %d: decoding and encoding changes it", seed)
		}
	}
}

func TestDecodeDamage(t *testing.T) {
	whole := randomFile(rand.New(rand.NewPCG(1, 2)), 3).AppendTo(nil)
	for n := range len(whole) {
		if _, err := Decode(whole[:n]); !errors.Is(err, pack.ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
	le := binary.LittleEndian
	head := func(superseded, packs uint32) []byte { return le.AppendUint32(le.AppendUint32(nil, superseded), packs) }
	badTable := le.AppendUint32(append(head(0, 1), make([]byte, idSize)...), 4096)
	badTable = (&pack.Table{Frames: []pack.Frame{{Kind: 7, Sealed: 42, Raw: 1, Chunks: 1}}, Chunks: []pack.Ref{{ID: chunk.ID{1}, Len: 1}}}).AppendTo(badTable)
	for name, p := range map[string][]byte{
		"nothing": nil, "a byte behind": append(slices.Clone(whole), 0), "many superseded": head(1<<32-1, 0), "many packs": head(0, 1<<32-1),
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
		seed := randomFile(rand.New(rand.NewPCG(uint64(n), 3)), n).AppendTo(nil)
		f.Add(seed)
		f.Add(seed[:len(seed)-1])
		f.Add(append(seed, 0))
	}
	f.Add((&File{Supersedes: []pack.ID{{1}}}).AppendTo(nil))
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		file, err := Decode(p)
		if err != nil {
			if !errors.Is(err, pack.ErrDamaged) {
				t.Fatalf("%v, want ErrDamaged", err)
			}
			return
		}
		if again := file.AppendTo(nil); !bytes.Equal(again, p) || file.EncodedSize() != len(p) {
			t.Fatalf("%x decodes and encodes to %x", p, again)
		}
		x := new(Index)
		for _, p := range file.Packs {
			x.AddPack(p.Pack, p.Table)
		}
		for _, p := range file.Packs {
			for _, ref := range p.Table.Chunks {
				if loc, ok := x.Lookup(ref.ID); ok && uint64(loc.Start)+uint64(loc.Len) > uint64(loc.Frame.Raw) {
					t.Fatalf("%v lies at %+v", ref.ID, loc)
				}
			}
		}
	})
}
