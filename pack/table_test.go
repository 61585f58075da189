package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"

	"platter/chunk"
)

func TestTableRoundTrip(t *testing.T) {
	_, _, table := buildPack(t, realKeys, testFrames())
	for _, table := range []*Table{table, {Frames: []Frame{}, Chunks: []Ref{}}} {
		p := table.AppendTo([]byte("before"))[len("before"):]
		if len(p) != table.EncodedSize() {
			t.Errorf("%d bytes, EncodedSize says %d", len(p), table.EncodedSize())
		}
		got, rest, err := DecodeTable(append(p, "after"...))
		if err != nil || string(rest) != "after" || !reflect.DeepEqual(got, table) {
			t.Errorf("%v, rest %q, %+v; want %+v", err, rest, got, table)
		}
		for n := range len(p) {
			_, _, err := DecodeTable(p[:n])
			wantDamaged(t, "cut short", err)
		}
	}
}

func TestTableValidation(t *testing.T) {
	id := chunk.ID{1}
	good := func() Table {
		return Table{
			Frames: []Frame{{chunk.Data, 100, 5000, 2}, {chunk.Map, 42, 1, 1}},
			Chunks: []Ref{{id, 4096}, {id, 904}, {id, 1}},
		}
	}
	for _, test := range []struct {
		name   string
		change func(*Table)
	}{
		{"kind 0", func(t *Table) { t.Frames[0].Kind = 0 }},
		{"kind 3", func(t *Table) { t.Frames[1].Kind = 3 }},
		{"kind 255", func(t *Table) { t.Frames[1].Kind = 255 }},
		{"no sealed bytes", func(t *Table) { t.Frames[0].Sealed = 0 }},
		{"only a seal", func(t *Table) { t.Frames[0].Sealed = overhead }},
		{"more sealed than raw", func(t *Table) { t.Frames[0].Sealed = 5000 + overhead + 1 }},
		{"sealed overflows", func(t *Table) { t.Frames[0].Sealed = 1<<32 - 1 }},
		{"raw too large", func(t *Table) {
			t.Frames[0].Raw = MaxRaw + 1
			t.Chunks[0].Len = MaxRaw + 1 - 904
		}},
		{"raw overflows", func(t *Table) { t.Frames[0].Raw = 1<<32 - 1; t.Chunks[0].Len = 1<<32 - 905 }},
		{"no raw", func(t *Table) { t.Frames[0].Raw = 0 }},
		{"raw one less", func(t *Table) { t.Frames[0].Raw-- }},
		{"raw one more", func(t *Table) { t.Frames[0].Raw++ }},
		{"no chunks", func(t *Table) { t.Frames[0].Chunks = 0 }},
		{"all chunks in the first frame", func(t *Table) { t.Frames[0].Chunks = 3 }},
		{"more chunks than there are", func(t *Table) { t.Frames[1].Chunks = 2 }},
		{"chunks overflow", func(t *Table) { t.Frames[1].Chunks = 1<<32 - 1 }},
		{"chunk of nothing", func(t *Table) { t.Chunks[1].Len = 0; t.Chunks[0].Len = 5000 }},
		{"chunk lengths wrap", func(t *Table) { t.Chunks[0].Len = 1<<32 - 1; t.Chunks[1].Len = 5001 }},
		{"chunk without a frame", func(t *Table) { t.Chunks = append(t.Chunks, Ref{id, 1}) }},
		{"frame without a chunk", func(t *Table) { t.Frames = append(t.Frames, Frame{chunk.Data, 60, 20, 1}) }},
		{"pack too large", func(t *Table) {
			t.Frames, t.Chunks = nil, nil
			for range MaxSize/MaxRaw + 1 {
				t.Frames = append(t.Frames, Frame{chunk.Data, MaxRaw, MaxRaw, 1})
				t.Chunks = append(t.Chunks, Ref{id, MaxRaw})
			}
		}},
	} {
		table := good()
		test.change(&table)
		_, _, err := DecodeTable(table.AppendTo(nil))
		wantDamaged(t, test.name, err)
	}
	table := good()
	if _, _, err := DecodeTable(table.AppendTo(nil)); err != nil {
		t.Errorf("a valid table: %v", err)
	}
	for _, counts := range [][2]uint32{{1<<32 - 1, 0}, {0, 1<<32 - 1}, {1<<32 - 1, 1<<32 - 1}, {1, 0}, {0, 1}} {
		p := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, counts[0]), counts[1])
		_, _, err := DecodeTable(p)
		wantDamaged(t, "counts without entries", err)
	}
}

func TestParseHeader(t *testing.T) {
	for kind := ConfigFile; kind <= ParityFile; kind++ {
		h := Header(kind)
		if len(h) != HeaderSize {
			t.Fatalf("header of %d bytes", len(h))
		}
		if body, err := ParseHeader(append(h, "body"...), kind); err != nil || string(body) != "body" {
			t.Errorf("kind %d: %q, %v", kind, body, err)
		}
		for n := range HeaderSize {
			_, err := ParseHeader(h[:n], kind)
			wantDamaged(t, "cut short", err)
		}
		for other := FileKind(0); other < 8; other++ {
			if other != kind {
				_, err := ParseHeader(Header(other), kind)
				wantDamaged(t, "another kind", err)
			}
		}
	}
	for _, test := range []struct {
		at    int
		to    byte
		newer bool
	}{
		{0, 'P', false},
		{6, 'R', false},
		{7, 1, false},
		{8, 0, false},
		{8, 2, true},
		{8, 255, true},
		{9, 1, true},
		{10, 0, false},
		{10, 6, false},
		{11, 2, true},
		{11, 3, true},
		{11, 128, true},
	} {
		h := Header(PackFile)
		h[test.at] = test.to
		_, err := ParseHeader(h, PackFile)
		if !errors.Is(err, ErrNewer) == test.newer || !errors.Is(err, ErrDamaged) != test.newer {
			t.Errorf("byte %d set to %d: %v; newer: want %v", test.at, test.to, err, test.newer)
		}
	}
}

// TestHeaderFeatures checks feature bits. An older file lacks a feature's bit and stays valid. On a kind of file that
// never had the feature, the bit means newer.
func TestHeaderFeatures(t *testing.T) {
	for kind, known := range map[FileKind]byte{ConfigFile: 0, SlotFile: 0, PackFile: 1, IndexFile: 1, SnapshotFile: 0, ParityFile: 0} {
		h := Header(kind)
		if h[11] != known {
			t.Errorf("kind %d: new files have feature bits %b, want %b", kind, h[11], known)
		}
		for bits := range 256 {
			h[11] = byte(bits)
			_, err := ParseHeader(h, kind)
			if newer := byte(bits)&^known != 0; errors.Is(err, ErrNewer) != newer || !newer && err != nil {
				t.Errorf("kind %d, feature bits %b: %v", kind, bits, err)
			}
		}
	}
}

func TestIDText(t *testing.T) {
	id := Sum([]byte("x"))
	text, err := id.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var got FileID
	if err := got.UnmarshalText(text); err != nil || got != id || got.IsZero() || !(FileID{}).IsZero() {
		t.Errorf("%v, %v; want %v", got, err, id)
	}
	for _, bad := range []string{"", id.String()[1:], id.String() + "00", "G" + id.String()[1:], string(bytes.ToUpper(text))} {
		if _, err := ParseFileID(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(Header(PackFile), byte(PackFile))
	f.Add(append(Header(ConfigFile), "body"...), byte(ConfigFile))
	f.Add(Header(IndexFile)[:11], byte(IndexFile))
	f.Add([]byte("platter\x00\x02\x00\x03\x00"), byte(PackFile))
	f.Add([]byte("platter\x00\x01\x00\x03\x01"), byte(PackFile))
	f.Fuzz(func(t *testing.T, file []byte, kind byte) {
		body, err := ParseHeader(file, FileKind(kind))
		switch {
		case err == nil:
			again := append(Header(FileKind(kind)), body...)
			again[HeaderSize-1] &= file[HeaderSize-1] // older files lack the feature bits
			if !bytes.Equal(again, file) {
				t.Fatalf("%x parses as %x", file, again)
			}
		case errors.Is(err, ErrDamaged) == errors.Is(err, ErrNewer):
			t.Fatalf("%v is neither damaged nor newer, or both", err)
		}
	})
}

func FuzzDecodeTable(f *testing.F) {
	_, _, table := buildPack(f, nullKeys, testFrames())
	seed := table.AppendTo(nil)
	f.Add(seed)
	f.Add(append(slices.Clone(seed), 0, 0, 0))
	f.Add(seed[:len(seed)-1])
	f.Add(make([]byte, tableHead))
	f.Add((&Table{Frames: []Frame{{chunk.Data, 42, 1, 1}}, Chunks: []Ref{{chunk.ID{1}, 1}}}).AppendTo(nil))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, p []byte) {
		table, rest, err := DecodeTable(p)
		if err != nil {
			wantDamaged(t, "a bad table", err)
			return
		}
		if again := append(table.AppendTo(nil), rest...); !bytes.Equal(again, p) || table.EncodedSize() != len(p)-len(rest) {
			t.Fatalf("%x decodes and encodes to %x", p, again)
		}
		var chunks uint64
		for _, fr := range table.Frames {
			chunks += uint64(fr.Chunks)
		}
		if chunks != uint64(len(table.Chunks)) || table.end() > MaxSize {
			t.Fatalf("frames list %d chunks, the table has %d; the last frame ends at %d", chunks, len(table.Chunks), table.end())
		}
	})
}

// smallPack is a pack without padding, so that a fuzzer has few bytes to try.
func smallPack(t testing.TB, frames ...*Open) []byte {
	e, b := newEncoder(t, nullKeys), NewBuilder(nil)
	for _, o := range frames {
		b.Add(o, encode(t, e, o))
	}
	sealed := nullSealer{}.SealInPlace(b.table.AppendTo(make([]byte, NonceSize)))
	length := binary.LittleEndian.AppendUint32(make([]byte, NonceSize), uint32(len(sealed)))
	return slices.Concat(b.file, sealed, nullSealer{}.SealInPlace(length), []byte(tailMark))
}

func FuzzReadTable(f *testing.F) {
	whole := smallPack(f, openFrame(chunk.Data, text(400)), openFrame(chunk.Map, []byte("nine byte")))
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(slices.Clone(whole[:HeaderSize]), whole[len(whole)-100:]...))
	f.Add(smallPack(f, openFrame(chunk.Data, []byte("x"), []byte("yz"))))
	f.Add(smallPack(f))
	file, _, _ := buildPack(f, nullKeys, testFrames()[3:4])
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		table, err := ReadTable(int64(len(file)), nullKeys, readerOf(file))
		if err != nil {
			if errors.Is(err, ErrDamaged) == errors.Is(err, ErrNewer) {
				t.Fatalf("%v is neither damaged nor newer, or both", err)
			}
			return
		}
		off := int64(HeaderSize)
		for _, fr := range table.Frames {
			if off+int64(fr.Sealed) > int64(len(file)) {
				t.Fatalf("a frame of %d bytes at %d of a pack of %d", fr.Sealed, off, len(file))
			}
			off += int64(fr.Sealed)
		}
	})
}
