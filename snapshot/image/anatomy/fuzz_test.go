package anatomy

import (
	"encoding/json"
	"io"
	"iter"
	"reflect"
	"testing"

	"platter/chunk"
	"platter/snapshot/image"
)

// patched is a disk of zeros except for some sectors, so that the fuzzer need not find the right places. A piece is a
// sector number, u16, and 512 bytes. From 0x8000 on, numbers count from the end.
type patched struct {
	pieces []byte
	size   int64
}

const pieceLen = 2 + 512

func (d patched) Size() int64 { return d.size }

func (d patched) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) { yield(image.Extent{Len: d.size}, nil) }
}

func (d patched) ReadAt(p []byte, off int64) (int, error) {
	if off >= d.size {
		return 0, io.EOF
	}
	clear(p)
	for pieces := d.pieces; len(pieces) >= pieceLen; pieces = pieces[pieceLen:] {
		at := int64(le.Uint16(pieces)) * 512
		if at >= 0x8000*512 {
			at += d.size&^511 - 0x10000*512
		}
		if data := pieces[2:pieceLen]; at+512 > off && at < off+int64(len(p)) {
			copy(p[max(at-off, 0):], data[max(off-at, 0):])
		}
	}
	return len(p), nil
}

// patches makes pieces of the beginning and the end of a disk.
func patches(start, end []byte) (pieces []byte) {
	for i := 0; i+512 <= len(start); i += 512 {
		if s := start[i : i+512]; !chunk.IsZero(s) {
			pieces = append(le.AppendUint16(pieces, uint16(i/512)), s...)
		}
	}
	for i := 0; i+512 <= len(end); i += 512 {
		if s := end[i : i+512]; !chunk.IsZero(s) {
			pieces = append(le.AppendUint16(pieces, uint16(0x10000-(len(end)-i)/512)), s...)
		}
	}
	return pieces
}

// FuzzRead checks that Read returns for every disk, without a panic and within its limits, and that the result
// survives JSON.
func FuzzRead(f *testing.F) {
	const sectors = 70 << 20 / 512 // some content is only looked for on large disks
	gpt := gptDisk(sectors, layout{linuxKind, 64, 100}).Data
	f.Add(patches(gpt[:34*512], gpt[len(gpt)-34*512:]), uint32(sectors))
	f.Add(patches(gpt[:512], gpt[len(gpt)-34*512:]), uint32(sectors))
	f.Add(patches(chained(link{100, 1, 10, 100}, link{200, 1, 10, 100}).Data, nil), uint32(4096))
	at := func(off int, data []byte) []byte { return append(make([]byte, off), data...) }
	header, catalogue := hfsPlus()
	hfs := at(64<<10, catalogue)
	copy(hfs[1024:], header)
	pad := make([]byte, 512)
	for _, start := range [][]byte{at(4096, append(mdSuper(4096), pad...)), at(16<<10, append(zfsLabel(), pad...)), hfs} {
		f.Add(patches(start, nil), uint32(sectors))
	}
	f.Add(patches(nil, append(mdSuper0(), make([]byte, 60<<10)...)), uint32(sectors))
	for name := range heads {
		f.Add(patches(head(f, name), nil), uint32(sectors))
	}
	f.Fuzz(func(t *testing.T, pieces []byte, sectors uint32) {
		d := check(t, patched{pieces, int64(sectors)})
		if sectors < 1<<30 {
			d = check(t, patched{pieces, int64(sectors) * 512})
		}
		out, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		back := new(Disk)
		if err := json.Unmarshal(out, back); err != nil || !reflect.DeepEqual(d, back) {
			t.Fatalf("%+v became %+v in JSON (%v)", d, back, err)
		}
	})
}
