package index

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"platter/chunk"
	"platter/pack"
)

// TestDamagedCache damages a run in every section and truncates it. It must not open.
func TestDamagedCache(t *testing.T) {
	c := &Cache{Folder: t.TempDir()}
	merged(t, c, 2, 3)
	name := filepath.Join(c.Folder, runName)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	opens := func(data []byte) bool {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return Open(c).Stored() > 0
	}
	if !opens(whole) {
		t.Fatal("the undamaged run does not open")
	}
	for i := 0; i < len(whole); i += 1 + len(whole)/997 {
		bad := slices.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		if opens(bad) {
			t.Errorf("the run opens with a bit flipped in byte %d of %d", i, len(whole))
		}
	}
	for _, i := range []int{1, trailerSize, trailerSize + sumSize, trailerSize + sumSize + 8} {
		bad := slices.Clone(whole)
		bad[len(bad)-i] ^= 1
		if opens(bad) || opens(whole[:len(whole)-i]) || opens(whole[i:]) || opens(append(slices.Clone(whole), make([]byte, i)...)) {
			t.Errorf("the run opens damaged or truncated %d bytes before its end", i)
		}
	}
	if opens(nil) {
		t.Error("an empty file opens")
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if Open(c).Stored() != 0 {
		t.Error("a folder opens as a run")
	}
	x, _, all := merged(t, c, 3, 3) // the new run cannot replace a folder
	wantAll(t, x, all)
}

// FuzzRun opens runs with valid seals and arbitrary content.
func FuzzRun(f *testing.F) {
	c := &Cache{Folder: f.TempDir()}
	merged(f, c, 4, 2)
	whole, err := os.ReadFile(filepath.Join(c.Folder, runName))
	if err != nil {
		f.Fatal(err)
	}
	t, err := readTrailer(whole, c)
	if err != nil {
		f.Fatal(err)
	}
	head := int(t.body) - bucketSize
	f.Add(whole[:head], uint8(t.packs), uint8(t.frames), uint8(t.files), uint8(t.links), uint8(t.superseded), uint8(t.records), uint16(0), uint32(0))
	f.Add([]byte{}, uint8(0), uint8(0), uint8(0), uint8(0), uint8(0), uint8(0), uint16(3), uint32(1<<31))
	f.Fuzz(func(t *testing.T, head []byte, packs, frames, files, links, superseded, records uint8, bucket uint16, first uint32) {
		tr := trailer{packs: uint32(packs), frames: uint32(frames), files: uint32(files), links: uint32(links), superseded: uint32(superseded), records: uint64(records)}
		if len(head) > 4096 {
			return
		}
		var data []byte
		s := newSealer(c, func(p []byte) error { data = append(data, p...); return nil })
		table := make([]byte, bucketSize)
		for i := range prefixes + 1 {
			n := uint32(records)
			if i < int(bucket) {
				n = 0
			} else if i == int(bucket) {
				n = first
			}
			binary.LittleEndian.PutUint32(table[4*i:], n)
		}
		if err := s.write(append(slices.Clone(head), table...)); err != nil {
			t.Fatal(err)
		}
		if err := s.finish(tr); err != nil {
			t.Fatal(err)
		}
		r, err := parseRun(data, c)
		if err != nil {
			return
		}
		files2, ok := r.sources()
		if !ok {
			return
		}
		x := &Index{base: r, packs: r.known(), files: files2, known: map[pack.FileID]uint32{}}
		x.Reconcile(func(pack.FileID) (bool, bool) { return true, true }, func(pack.FileID) (int64, bool) { return 1, true })
		for b := range 3 {
			id := chunk.ID{0, byte(b)}
			x.Lookup(id)
			x.Claim(id)
			if len(head) > 16 {
				x.Lookup(chunk.ID(append(slices.Clone(head[len(head)-16:]), make([]byte, 16)...)))
			}
		}
	})
}
