package repo

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// A damageSample is a sample with two files of every kind, and a clock.
type damageSample struct {
	*sample
	kinds map[string][2]string // names of two files of each kind
	other map[string][]byte    // another repository's files, by name
	hours time.Duration        // passed since the sample was made
}

func newDamageSample(t *testing.T) *damageSample {
	t.Helper()
	ctx := t.Context()
	x := &damageSample{sample: &sample{snapshots: map[pack.FileID][]byte{}}, kinds: map[string][2]string{}, other: newSample(t).files}
	mem := new(store.Mem)
	settings := DefaultSettings
	settings.FrameSize, settings.PackSize, settings.Parity = minFrameSize, MinPackSize, 300
	if _, err := Init(ctx, mem, []byte("pw"), cheap, "test", settings); err != nil {
		t.Fatal(err)
	}
	r := reopen(t, mem)
	for seed := range byte(2) {
		chunks := noiseChunks(seed, 24, 6000)
		id := keepChunks(t, r, chunks)
		json, err := r.GetSnapshot(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		x.snapshots[id] = []byte(strings.TrimRight(string(json), " "))
		x.chunks = append(x.chunks, mustSave(t, reopen(t, mem), chunks)...)
	}
	if _, err := r.AddSlot(ctx, []byte("second"), cheap, "second"); err != nil {
		t.Fatal(err)
	}
	x.files = storetest.Files(t, mem)
	x.kinds["config"] = [2]string{layout.Config, layout.Config}
	packs := x.packs()
	x.kinds["pack"], x.kinds["parity"] = [2]string(packs), [2]string{packs[0] + layout.ParityEnd, packs[1] + layout.ParityEnd}
	for kind, dir := range map[string]string{"key": layout.Keys, "index": layout.Index, "snapshot": layout.Snapshots} {
		x.kinds[kind] = [2]string(x.in(dir))
	}
	mustSave(t, r, noiseChunks(9, 4, 6000)) // no snapshot needs it
	x.addWork(t, r)
	x.files = storetest.Files(t, mem)
	x.kinds["leftover"] = [2]string{"index/.tmp-" + strings.Repeat("a", 32), packs[0][:len("packs/00")] + "/.tmp-" + strings.Repeat("b", 32)}
	for _, name := range x.kinds["leftover"] {
		x.files[name] = []byte(strings.Repeat("what was not written to its end: "+name, 9))
	}
	return x
}

// addWork puts the files of running work.
func (x *damageSample) addWork(t *testing.T, r *Repo) {
	t.Helper()
	put := func(kind, dir string, file pack.FileKind, p crypt.Purpose, says [2]any) (ids [2]pack.FileID) {
		t.Helper()
		for i := range says {
			id, err := r.putJSON(t.Context(), dir, file, p, says[i])
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = id
		}
		x.kinds[kind] = [2]string{layout.Name(dir, ids[0]), layout.Name(dir, ids[1])}
		return ids
	}
	var unneeded []pack.FileID
	for _, name := range r.view().index.Packs() {
		if !slices.Contains(x.packs(), layout.PackName(name.ID)) {
			unneeded = append(unneeded, name.ID)
		}
	}
	markers := put("marker", layout.Work, pack.MarkerFile, crypt.Markers, [2]any{lease.Marker{Packs: unneeded, Host: "a"}, lease.Marker{Packs: unneeded, Host: "b"}})
	put("marker of damaged packs", layout.Work, pack.MarkerFile, crypt.Markers,
		[2]any{lease.Marker{Packs: unneeded, Damaged: true, Host: "a"}, lease.Marker{Packs: unneeded, Damaged: true, Host: "b"}})
	leases := put("lease", layout.Work, pack.LeaseFile, crypt.Leases, [2]any{Lease{Work: BackingUp, Host: "a"}, Lease{Work: BackingUp, Host: "b"}})
	put("second file of a lease", layout.Work, pack.LeaseFile, crypt.Leases, [2]any{
		Lease{Work: BackingUp, Host: "a", Of: &leases[0], Acknowledged: markers[:]}, Lease{Work: BackingUp, Host: "b", Of: &leases[1], Acknowledged: markers[:]},
	})
	put("record", layout.Forgotten, pack.RecordFile, crypt.Forgotten, [2]any{record{Host: "a", Snapshots: []pack.FileID{{1}}}, record{Host: "b", Snapshots: []pack.FileID{{2}}}})
	put("verdict", layout.Verdicts, pack.VerdictFile, crypt.Verdicts, [2]any{Verdict{Test: "a"}, Verdict{Test: "b"}})
	x.kinds["pending"] = [2]string{layout.Name(layout.Pending, leases[0]), layout.Name(layout.Pending, leases[1])}
	for i, name := range x.kinds["pending"] {
		file := append(pack.Header(pack.SnapshotFile), crypt.NewBox(r.master, crypt.Snapshots, r.id).Seal(fmt.Appendf(nil, `{"version":%d}`, i))...)
		if err := r.view().store.Put(t.Context(), name, file); err != nil {
			t.Fatal(err)
		}
	}
}

// A damaged is a repository in which a file was changed.
type damaged struct {
	what  string
	files map[string][]byte
	names []string // files that were changed or added
}

// befall returns a repository for each way in which a mishap can befall a file of a kind.
func (x *damageSample) befall(kind string, f mishap) (out []damaged) {
	name, second := x.kinds[kind][0], x.kinds[kind][1]
	data, to := x.files[name], another(kind, name)
	with := func(what string, changes map[string][]byte) {
		d := damaged{what, maps.Clone(x.files), slices.Sorted(maps.Keys(changes))}
		for name, data := range changes {
			if d.files[name] = data; data == nil {
				delete(d.files, name)
			}
		}
		out = append(out, d)
	}
	for what, bad := range changed(data, f) {
		with(what, map[string][]byte{name: bad})
	}
	switch f {
	case missing:
		with("", map[string][]byte{name: nil})
	case duplicated:
		with("", map[string][]byte{to: data})
	case renamed:
		with("", map[string][]byte{name: nil, to: data})
	case swapped:
		if kind == "config" {
			with("", map[string][]byte{name: x.other[name]})
			break
		}
		with("", map[string][]byte{name: x.files[second], second: data})
	}
	return out
}

// changed yields the results of a mishap to data.
func changed(data []byte, f mishap) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		n := len(data)
		switch f {
		case bitFlipped:
			for _, at := range []int{n / 2, 0, 7, 8, 9, 10, 11, 12, 27, 28, 60, n / 4, n - 20, n - 12, n - 9, n - 1} {
				bad := slices.Clone(data)
				bad[at] ^= 1 << (at % 8)
				if !yield(fmt.Sprint("in byte ", at), bad) {
					return
				}
			}
		case truncated:
			for _, to := range []int{n / 2, n - 1, pack.HeaderSize, 0} {
				if !yield(fmt.Sprintf("to %d bytes", to), slices.Clone(data[:to])) {
					return
				}
			}
		case extended:
			for _, by := range []int{1, 4096} {
				if !yield(fmt.Sprintf("by %d bytes", by), append(slices.Clone(data), make([]byte, by)...)) {
					return
				}
			}
		case zeroed:
			yield("", make([]byte, n))
		}
	}
}

// changes returns all changes of a file's bytes.
func changes(data []byte) map[string][]byte {
	out := map[string][]byte{}
	for f := range missing {
		for what, bad := range changed(data, f) {
			out[f.String()+" "+what] = bad
		}
	}
	return out
}

// another returns an unused name that looks like one of its kind.
func another(kind, name string) string {
	id := pack.FileID{0xab, 0xcd}
	switch kind {
	case "config":
		return "config2"
	case "pack":
		return layout.PackName(id)
	case "parity":
		return layout.ParityName(id)
	case "leftover":
		return "snapshots/.tmp-" + strings.Repeat("c", 32)
	}
	return layout.Name(layout.Dir(name), id)
}

// storeOf returns a store with the files of a repository. Only a store on a real file system can have leftovers and
// report them.
func (x *damageSample) storeOf(t *testing.T, kind string, d damaged) store.Store {
	t.Helper()
	x.hours = 0
	mem, root := &store.Mem{Clock: func() time.Time { return time.Now().Add(x.hours * time.Hour) }}, t.TempDir()
	for name, data := range d.files {
		if strings.Contains(name, "/.tmp-") && !slices.Contains(d.names, name) {
			continue
		}
		if kind != "leftover" {
			if err := mem.Put(t.Context(), name, data); err != nil {
				t.Fatal(err)
			}
			continue
		}
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if kind != "leftover" {
		return mem
	}
	return storetest.OpenLocal(t, root, nil)
}
