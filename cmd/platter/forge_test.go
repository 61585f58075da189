package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/crypt"
)

// A forger makes files of a repository that no platter would, sealed with its keys.
type forger struct {
	*site
	master crypt.MasterKey
	id     crypt.RepoID
	keys   pack.Keys
	undo   []func() error
}

// newForger opens the first password slot of a site.
func newForger(s *site) *forger {
	s.t.Helper()
	slots, err := filepath.Glob(filepath.Join(s.repo, "keys", "*"))
	if err != nil || len(slots) != 1 {
		s.t.Fatal(slots, err)
	}
	file, err := os.ReadFile(slots[0])
	var body []byte
	if err == nil {
		body, err = pack.ParseHeader(file, pack.SlotFile)
	}
	var slot *crypt.Slot
	if err == nil {
		slot, err = crypt.ParseSlot(body)
	}
	f := &forger{site: s}
	if err == nil {
		f.id = slot.Repo
		f.master, err = slot.Unlock(slot.Stretch([]byte("secret")))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	f.keys = pack.Keys{Data: f.box(crypt.DataFrames), Map: f.box(crypt.MapFrames), Table: f.box(crypt.Tables), Tail: f.box(crypt.Tails)}
	return f
}

func (f *forger) box(p crypt.Purpose) *crypt.Box { return crypt.NewBox(f.master, p, f.id) }

// write puts a file into the repository, and returns its path.
func (f *forger) write(name string, data []byte) string {
	f.t.Helper()
	path := filepath.Join(f.repo, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.undo = append(f.undo, func() error { return os.RemoveAll(path) })
	return path
}

// replaces puts something in the place of a file that is there.
func (f *forger) replaces(path string, put func(path string) error) {
	f.t.Helper()
	aside := f.path("aside-" + filepath.Base(path))
	if err := errors.Join(os.Rename(path, aside), put(path)); err != nil {
		f.t.Fatal(err)
	}
	f.undo = append(f.undo, func() error { return errors.Join(os.RemoveAll(path), os.Rename(aside, path)) })
}

// odd puts something into the repository that is not a file.
func (f *forger) odd(name string, put func(path string) error) {
	f.t.Helper()
	path := f.write(name, nil)
	if err := errors.Join(os.Remove(path), put(path)); err != nil {
		f.t.Fatal(err)
	}
}

// all returns the paths of the files in the repository that match a pattern. There must be some.
func (f *forger) all(pattern string) []string {
	f.t.Helper()
	found, err := filepath.Glob(filepath.Join(f.repo, pattern))
	if err != nil || len(found) == 0 {
		f.t.Fatal(found, err)
	}
	return found
}

// undone takes all of it back.
func (f *forger) undone() {
	f.t.Helper()
	for _, undo := range slices.Backward(f.undo) {
		if err := undo(); err != nil {
			f.t.Fatal(err)
		}
	}
}

// named puts a file under the name that follows from its bytes.
func (f *forger) named(dir string, data []byte) string {
	f.t.Helper()
	return f.write(dir+"/"+pack.Sum(data).String(), data)
}

// sealed puts a file that is sealed for a purpose.
func (f *forger) sealed(dir string, kind pack.FileKind, p crypt.Purpose, plain []byte) string {
	f.t.Helper()
	return f.named(dir, append(pack.Header(kind), f.box(p).Seal(plain)...))
}

// says puts a sealed file of JSON.
func (f *forger) says(dir string, kind pack.FileKind, p crypt.Purpose, says any) string {
	f.t.Helper()
	plain, err := json.Marshal(says)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.sealed(dir, kind, p, plain)
}

// snapshot puts a snapshot of a disk called "hostile".
func (f *forger) snapshot(size int64, root chunk.ID) {
	f.t.Helper()
	f.says("snapshots", pack.SnapshotFile, crypt.Snapshots, map[string]any{
		"version": 1, "time": "2026-01-01T00:00:00Z", "name": "hostile", "host": "h", "size": size, "root": root,
	})
}

// pack puts a pack of one frame, and an index file that lists it.
func (f *forger) pack(o *pack.Open, plain []byte) {
	f.t.Helper()
	box := f.keys.Data
	if o.Kind == chunk.Map {
		box = f.keys.Map
	}
	b := pack.NewBuilder(nil)
	b.Add(o, box.SealInPlace(append(make([]byte, pack.NonceSize), plain...)))
	file, id, table := b.Finish(f.keys)
	f.write("packs/"+id.String()[:2]+"/"+id.String(), file)
	listed := &index.File{Packs: []index.PackTable{{Pack: index.Pack{ID: id, Size: int64(len(file))}, Table: table}}}
	sealed := f.box(crypt.Indexes).SealInPlace(listed.Encode(pack.NonceSize, pack.TagSize))
	f.named("index", append(pack.Header(pack.IndexFile), sealed...))
}

// bomb puts a frame of one chunk that says it has 1 MiB, and unpacks to 10 GiB.
func (f *forger) bomb(kind chunk.Kind) chunk.ID {
	f.t.Helper()
	id := chunk.ID{1, 2, byte(kind)}
	o := &pack.Open{Kind: kind}
	o.Add(id, make([]byte, 1<<20))
	f.pack(o, append([]byte{1}, zstdZeros(10<<30)...)) // 1: compressed
	return id
}

// zstdZeros is a zstd frame of so many zeros: one run-length block of 128 KiB after the other.
func zstdZeros(size int64) []byte {
	const block, runLength = 128 << 10, 1
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x50} // magic; no length, no checksum; a window of 1 MiB
	for ; size > 0; size -= block {
		head := uint32(block)<<3 | runLength<<1
		if size <= block {
			head |= 1 // the last one
		}
		frame = append(binary.LittleEndian.AppendUint32(frame, head)[:len(frame)+3], 0)
	}
	return frame
}

// maps puts chunks of maps, and returns their ids.
func (f *forger) maps(chunks ...[]byte) (ids []chunk.ID) {
	f.t.Helper()
	namer, o := chunk.NewNamer(f.master.Key(crypt.MapIDs)), &pack.Open{Kind: chunk.Map}
	for _, c := range chunks {
		ids = append(ids, namer.ID(c))
		o.Add(ids[len(ids)-1], c)
	}
	f.pack(o, append([]byte{0}, o.Raw...)) // 0: as it is
	return ids
}

// page is a page of pieces, each a kind and a length.
func page(ids []chunk.ID, pieces ...uint32) []byte {
	p := binary.LittleEndian.AppendUint32([]byte{0}, uint32(len(pieces)))
	for _, q := range pieces {
		p = binary.LittleEndian.AppendUint32(p, q)
	}
	for _, id := range ids {
		p = append(p, id[:]...)
	}
	return p
}

const zeros30 = 1 << 30 // marks a piece of zeros

// wide is a map for a disk of up to 2^62 bytes: a page of zeros, and levels of nodes each of which has the one below 256 times.
func (f *forger) wide(levels int) chunk.ID { return f.wider(levels, page(nil, zeros30|64<<20)) }

// wider is the same with another page.
func (f *forger) wider(levels int, page []byte) chunk.ID {
	f.t.Helper()
	chunks := [][]byte{page}
	namer := chunk.NewNamer(f.master.Key(crypt.MapIDs))
	for level := 1; level <= levels; level++ {
		below := namer.ID(chunks[len(chunks)-1])
		times := 256
		if level == 5 {
			times = 16 // 2^36 regions are all that there can be
		}
		chunks = append(chunks, append([]byte{byte(level)}, bytes.Repeat(below[:], times)...))
	}
	ids := f.maps(chunks...)
	return ids[len(ids)-1]
}

func TestZstdZeros(t *testing.T) {
	if n := len(zstdZeros(10 << 30)); n > 1<<20 {
		t.Errorf("the bomb takes %d bytes", n)
	}
}
