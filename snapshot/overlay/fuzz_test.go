package overlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/zeebo/blake3"

	"platter/snapshot/image"
)

// FuzzOpen opens files with any header and any entries in the journal, with right sums: the overlay works, or it is an
// error.
func FuzzOpen(f *testing.F) {
	h := header{number: 3, binding: Binding{3}, size: 50*unit + 100, at: 2, spare: 5, len: 3}
	head := h.encode()[:summed]
	entries := func(all ...run) (p []byte) {
		for _, r := range all {
			for _, v := range []int64{r.at, r.n, r.unit} {
				p = binary.LittleEndian.AppendUint64(p, uint64(v))
			}
		}
		return p
	}
	f.Add(head, entries(run{0, 1, 8}, run{3, 4, 9}, run{0, 40, 0}, run{20, 2, 15}))
	f.Add(head[:100], []byte("short"))
	for _, r := range []run{
		{1 << 50, 1, 0}, {0, 1 << 62, 20}, {-1, 2, 20}, {0, 1, 1}, {0, 1, 2}, {0, 1, 7}, {2, 1, 20}, {40, 20, 0}, {0, 1, 1 << 62},
	} {
		f.Add(head, entries(run{2, 3, 18}, r))
	}
	f.Fuzz(func(t *testing.T, head, entries []byte) {
		data := fuzzed(head, entries)
		d, err := open(&memFile{data: data}, image.Sparse{Bytes: h.size}, Binding{3})
		switch {
		case errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer) || errors.Is(err, ErrOtherBase):
		case err != nil:
			t.Fatal(err)
		default:
			use(t, d)
		}
	})
}

// fuzzed makes a file of 25 units: headers, and a journal of three entries a page, all with right sums.
func fuzzed(head, entries []byte) []byte {
	data := make([]byte, 25*unit)
	copy(data[:summed], head)
	sum := blake3.Sum256(data[:summed])
	copy(data[summed:], sum[:])
	copy(data[unit:], data[:unit])
	h, err := decodeHeader(data, 25)
	if err != nil {
		return data
	}
	last := h.nonce
	for at := range h.len {
		n := min(len(entries), 3*entryLen)
		page := data[(h.at+at)*unit:][:unit]
		if h.at+at < headers || n < entryLen {
			break
		}
		clear(page)
		binary.LittleEndian.PutUint64(page[32:], uint64(at))
		binary.LittleEndian.PutUint64(page[40:], uint64(n/entryLen))
		copy(page[pageHead:], entries[:n])
		last = chain(last, page)
		copy(page, last[:])
		entries = entries[n:]
	}
	return data
}

// FuzzReplay replays a journal of any bytes: it ends, and applies only blocks of the disk.
func FuzzReplay(f *testing.F) {
	made, _ := made(f)
	h, err := decodeHeader(made.data, int64(len(made.data))/unit)
	must(f, err)
	f.Add(made.data[h.at*unit:][:2*unit])
	f.Fuzz(func(t *testing.T, data []byte) {
		j := &journal{header: *h}
		j.at, j.len = 0, int64(len(data))/unit
		err := j.replay(&memFile{data: data}, 100, func(r run) {
			if r.at < 0 || r.n <= 0 || r.end() > blocksOf(h.size) {
				t.Fatalf("%+v is not on the disk", r)
			}
		})
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

// use reads all of a disk, writes to it, and compares.
func use(t *testing.T, d *Disk) {
	t.Helper()
	want := make([]byte, d.Size())
	if _, err := d.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	next := int64(0)
	for e, err := range d.Changed(t.Context()) {
		if err != nil || e.Off < next || e.Len <= 0 || e.Off+e.Len > d.Size() {
			t.Fatalf("Changed yields %+v, %v", e, err)
		}
		next = e.Off + e.Len
	}
	for off := int64(100); off < d.Size(); off += 7 * unit {
		n, err := d.WriteAt([]byte("new"), off)
		must(t, err)
		copy(want[off:], "new"[:n])
	}
	must(t, d.Zero(3*unit, unit))
	clear(want[3*unit : 4*unit])
	must(t, d.Sync())
	got := make([]byte, d.Size())
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("it does not hold what was written, %v", err)
	}
}
