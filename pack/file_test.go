package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/zeebo/blake3"

	"platter/chunk"
)

func TestPackRoundTrip(t *testing.T) {
	frames := testFrames()
	d := newDecoder(t, realKeys)
	for n := 1; n <= len(frames); n++ {
		file, name, table := buildPack(t, realKeys, frames[:n])
		if len(file)%align != 0 {
			t.Errorf("a pack of %d frames has %d bytes, not a multiple of %d", n, len(file), align)
		}
		if name != blake3.Sum256(file) || name != Sum(file) {
			t.Errorf("%d frames: the name is not the file's BLAKE3", n)
		}
		got, err := ReadTable(int64(len(file)), realKeys, readerOf(file))
		if err != nil || !reflect.DeepEqual(got, table) {
			t.Fatalf("%d frames: %v, %+v; want %+v", n, err, got, table)
		}
		off, refs := HeaderSize, got.Chunks
		for i, f := range got.Frames {
			raw, err := d.Decode(nil, slices.Clone(file[off:][:f.Sealed]), f)
			if err != nil || !bytes.Equal(raw, frames[i].Raw) || f.Kind != frames[i].Kind {
				t.Fatalf("frame %d of %d: %v, or the bytes differ", i, n, err)
			}
			if !slices.Equal(refs[:f.Chunks], frames[i].Chunks) {
				t.Fatalf("frame %d of %d lists different chunks", i, n)
			}
			off, refs = off+int(f.Sealed), refs[f.Chunks:]
		}
	}
}

// TestPackLengths checks that a pack's length reveals its content's length to the next 4 KiB only.
func TestPackLengths(t *testing.T) {
	e := newEncoder(t, realKeys)
	var buf []byte
	for n := 3900; n < 4100; n++ {
		b := NewBuilder(buf)
		if !b.Empty() || b.Size() != HeaderSize+tableHead {
			t.Fatalf("a new pack has %d bytes", b.Size())
		}
		o := openFrame(chunk.Data, noise(9, n))
		b.Add(o, encode(t, e, o))
		before := b.Size()
		file, _, _ := b.Finish(realKeys)
		if len(file)%align != 0 || b.Empty() || int64(len(file)) > before+sealing+tailSize+align {
			t.Fatalf("frames that end at %d make a file of %d bytes", before, len(file))
		}
		if _, err := ReadTable(int64(len(file)), realKeys, readerOf(file)); err != nil {
			t.Fatal(err)
		}
		buf = file // the same memory again, as Write uses it
	}
}

// TestFullPack checks that a pack is full if its size or its table is.
func TestFullPack(t *testing.T) {
	o := openFrame(chunk.Data, noise(1, 10000))
	sealed := encode(t, newEncoder(t, nullKeys), o)
	b := NewBuilder(nil)
	b.Add(o, sealed)
	if b.Full(20000) || !b.Full(10000) {
		t.Errorf("a pack of %d bytes is not full at 20000: %v, full at 10000: %v", b.Size(), !b.Full(20000), b.Full(10000))
	}
	tiny := &Open{Kind: chunk.Data}
	for i := range 4096 {
		tiny.Add(chunk.ID{byte(i), byte(i >> 8)}, []byte{0})
	}
	sealed = encode(t, newEncoder(t, nullKeys), tiny)
	for n := 0; !b.Full(1 << 30); n++ {
		if b.Add(tiny, sealed); n > MaxTable/(4096*chunkEntry) {
			t.Fatalf("a table of %d bytes is not full", b.table.EncodedSize())
		}
	}
	file, _, table := b.Finish(nullKeys)
	if got, err := ReadTable(int64(len(file)), nullKeys, readerOf(file)); err != nil || len(got.Chunks) != len(table.Chunks) {
		t.Errorf("a full pack of tiny chunks: %v", err)
	}
}

// TestLongTable reads a table that does not fit into the first read.
func TestLongTable(t *testing.T) {
	o := &Open{Kind: chunk.Data}
	for i := range 5000 {
		o.Add(chunk.ID{byte(i), byte(i >> 8), 1}, []byte{byte(i)})
	}
	file, _, table := buildPack(t, realKeys, []*Open{o})
	got, err := ReadTable(int64(len(file)), realKeys, readerOf(file))
	if err != nil || !reflect.DeepEqual(got, table) {
		t.Fatalf("%v, or the table differs", err)
	}
}

func TestReadTableDamage(t *testing.T) {
	file, _, table := buildPack(t, realKeys, testFrames())
	start := int(table.end())
	flip := func(at int) []byte {
		bad := slices.Clone(file)
		bad[at] ^= 0x10
		return bad
	}
	length := func(n int) []byte {
		sealed := realKeys.Tail.SealInPlace(binary.LittleEndian.AppendUint32(make([]byte, NonceSize), uint32(n)))
		return slices.Concat(file[:len(file)-tailSize], sealed, []byte(tailMark))
	}
	real := len(file) - tailSize - start
	cases := map[string][]byte{
		"nothing": nil, "one byte": file[:1], "only a header": file[:HeaderSize], "header and tail": append(slices.Clone(file[:HeaderSize]), file[len(file)-tailSize:]...),
		"a byte less": file[:len(file)-1], "a block less": file[:len(file)-align], "half": file[:len(file)/2],
		"a byte more": append(slices.Clone(file), 0), "twice": append(slices.Clone(file), file...),
		"no magic": flip(0), "table's nonce": flip(start), "table": flip(start + NonceSize + 3), "table's tag": flip(len(file) - tailSize - 1),
		"length": flip(len(file) - 8 - TagSize - 1), "length's nonce": flip(len(file) - tailSize), "length's tag": flip(len(file) - 9), "mark": flip(len(file) - 1),
		"no length": length(0), "length of a seal": length(sealing), "length to the header": length(len(file) - tailSize - HeaderSize),
		"length beyond the start": length(len(file)), "huge length": length(math.MaxInt32), "a byte too long": length(real + 1), "a byte too short": length(real - 1),
	}
	for i := 1; i < 8; i++ {
		cases[fmt.Sprintf("magic byte %d", i)] = flip(i)
	}
	for name, bad := range cases {
		_, err := ReadTable(int64(len(bad)), realKeys, readerOf(bad))
		wantDamaged(t, name, err)
	}
	for _, size := range []int64{-1, 0, MaxSize + 1, 1 << 62, int64(len(file)) + align} {
		_, err := ReadTable(size, realKeys, readerOf(file))
		wantDamaged(t, fmt.Sprintf("said to have %d bytes", size), err)
	}
	for _, kind := range []FileKind{0, IndexFile, 99} {
		bad := slices.Clone(file)
		bad[10] = byte(kind)
		_, err := ReadTable(int64(len(bad)), realKeys, readerOf(bad))
		wantDamaged(t, fmt.Sprintf("kind %d", kind), err)
	}
	for name, others := range map[string]Keys{
		"table opened with the data key": {realKeys.Data, realKeys.Map, realKeys.Data, realKeys.Tail},
		"tail opened with the table key": {realKeys.Data, realKeys.Map, realKeys.Table, realKeys.Table},
	} {
		_, err := ReadTable(int64(len(file)), others, readerOf(file))
		wantDamaged(t, name, err)
	}
}

// TestReadTableBounds checks that no pack makes the reader read outside the file.
func TestReadTableBounds(t *testing.T) {
	file, _, _ := buildPack(t, nullKeys, testFrames())
	for at := len(file) - tailSize; at < len(file); at++ {
		for bit := range 8 {
			bad := slices.Clone(file)
			bad[at] ^= 1 << bit
			ReadTable(int64(len(bad)), nullKeys, func(off, n int64) ([]byte, error) {
				if off < 0 || n < 0 || off+n > int64(len(bad)) {
					t.Errorf("bit %d of byte %d: reads %d bytes at %d of %d", bit, at, n, off, len(bad))
				}
				return readerOf(bad)(off, n)
			})
		}
	}
}

func TestReadTableStoreErrors(t *testing.T) {
	o := &Open{Kind: chunk.Data}
	for i := range 3000 {
		o.Add(chunk.ID{byte(i), byte(i >> 8), 1}, []byte{byte(i)})
	}
	file, _, _ := buildPack(t, realKeys, []*Open{o})
	for fail := 0; ; fail++ {
		calls := 0
		_, err := ReadTable(int64(len(file)), realKeys, func(off, n int64) ([]byte, error) {
			if calls++; calls == fail+1 {
				return nil, errRead
			}
			return readerOf(file)(off, n)
		})
		if calls <= fail {
			if err != nil || fail < 2 {
				t.Fatalf("%d calls, %v", calls, err)
			}
			return
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrDamaged) {
			t.Errorf("call %d fails: %v, want the store's own error", fail, err)
		}
	}
}

// TestOpenTableConsistency seals tables that do not match their pack.
func TestOpenTableConsistency(t *testing.T) {
	frames := testFrames()[:1]
	file, _, table := buildPack(t, nullKeys, frames)
	start := int(table.end())
	cases := map[string]func(sealed []byte) (at int){
		"as it is":            func([]byte) int { return start },
		"something behind it": func(s []byte) int { s[len(s)-TagSize-1] = 1; return start },
		"starts elsewhere":    func([]byte) int { return start + 1 },
		"frame one shorter":   func(s []byte) int { s[NonceSize+tableHead]--; return start },
	}
	for name, change := range cases {
		sealed := slices.Clone(file[start : len(file)-tailSize])
		_, err := openTable(sealed, int64(change(sealed)), nullKeys)
		if name == "as it is" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantDamaged(t, name, err)
	}
}
