package virtual

import (
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"testing"

	"platter/chunk"
	"platter/snapshot/image"
)

// A pieced is a file with bytes in some places and zeros everywhere else.
type pieced struct {
	size   int64
	pieces []vhdPiece
}

type vhdPiece struct {
	at   int64
	data []byte
}

func (f pieced) Size() int64 { return f.size }

func (f pieced) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > f.size {
		return 0, errors.New("a read outside the file")
	}
	clear(p)
	for _, s := range f.pieces {
		if from, to := max(off, s.at), min(off+int64(len(p)), s.at+int64(len(s.data))); from < to {
			copy(p[from-off:to-off], s.data[from-s.at:])
		}
	}
	if int64(len(p)) > f.size-off {
		return int(f.size - off), io.EOF
	}
	return len(p), nil
}

func (f pieced) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) { yield(image.Extent{Len: f.size}, nil) }
}

// sound checks that a disk either opens, with extents that cover it and zeros that are zeros, or fails with an error
// of this package.
func sound(t *testing.T, d image.Disk, err error) {
	t.Helper()
	fails := func(err error) bool {
		if err != nil && err != io.EOF && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("an error of no class: %v", err)
		}
		return err != nil && err != io.EOF
	}
	if fails(err) {
		return
	}
	var buf [8192]byte
	at, n, last := int64(0), 0, image.Extent{}
	for e, err := range d.Extents() {
		if fails(err) {
			return
		}
		if e.Off != at || e.Len <= 0 || e.Len > d.Size()-at || n > 0 && e.Zero == last.Zero {
			t.Fatalf("extent %d of a disk of %d bytes is %v, after %v", n, d.Size(), e, last)
		}
		for _, off := range []int64{e.Off, e.Off + e.Len/2, max(e.Off, e.Off+e.Len-int64(len(buf)))} {
			p := buf[:min(int64(len(buf)), e.Off+e.Len-off)]
			if m, err := d.ReadAt(p, off); fails(err) || m != len(p) || e.Zero && !chunk.IsZero(p) {
				t.Fatalf("%d bytes at %d, of extent %v: %d, %v", len(p), off, e, m, err)
			}
			if n > 1000 {
				break
			}
		}
		at, last, n = at+e.Len, e, n+1
	}
	if at != d.Size() {
		t.Fatalf("the extents end at byte %d of %d", at, d.Size())
	}
	_, err = d.ReadAt(buf[:], d.Size()/2)
	if d.Size() > 0 && fails(err) {
		t.Fatalf("the extents are complete, but reading fails: %v", err)
	}
}

// trimmed returns p without zeros at its end.
func trimmed(p []byte) []byte {
	for len(p) > 0 && p[len(p)-1] == 0 {
		p = p[:len(p)-1]
	}
	return p
}

// FuzzVHD opens files with arbitrary parts, with valid or invalid checksums.
func FuzzVHD(f *testing.F) {
	file, _ := vhdFile(f)
	f.Add(file[:512], file[512:1536], file[1536:1548], file[len(file)-512:], uint32(vhdBlock), true)
	fixed := vhdEdit(file, func(footer, _, _ []byte) { footer[63] = vhdFixed; binary.BigEndian.PutUint64(footer[48:], 1536) })
	f.Add([]byte{}, []byte{}, []byte{}, fixed[:512], uint32(0), true)
	f.Fuzz(func(t *testing.T, first, header, table, last []byte, room uint32, sums bool) {
		if len(table) > 64<<10 {
			return
		}
		first, header, last = filledUp(first, 512)[:512], filledUp(header, 1024)[:1024], filledUp(last, 512)[:512]
		if sums {
			binary.BigEndian.PutUint32(first[64:], vhdSum(first, 64))
			binary.BigEndian.PutUint32(header[36:], vhdSum(header, 36))
			binary.BigEndian.PutUint32(last[64:], vhdSum(last, 64))
		}
		file := pieced{pieces: []vhdPiece{{0, first}, {512, header}, {1536, table}}}
		at := (1536 + int64(len(table)) + int64(room)%(4<<20) + 511) / 512 * 512
		file.pieces, file.size = append(file.pieces, vhdPiece{at, last}), at+512
		found, err := Detect(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := openVHD(&opening{Disk: file})
		if err == nil && found != VHD && found != VHDX {
			t.Fatalf("it opens, but is detected as %q", found)
		}
		sound(t, d, err)
	})
}

// FuzzVHDX does the same for VHDX, in files of 8 MiB.
func FuzzVHDX(f *testing.F) {
	file, _ := vhdxFileOf(f)
	add := func(file []byte) {
		f.Add(trimmed(file[vhdxHeader2:][:4096]), trimmed(file[vhdxRegions1:][:4096]), trimmed(file[vhdxMetadataAt:][:4096]),
			trimmed(file[vhdxMetadataAt+vhdxTableLen:][:4096]), trimmed(file[vhdxTableAt:][:4096]), trimmed(file[vhdxLogAt:vhdxMetadataAt]), true)
	}
	add(file)
	n := uint64(len(file))
	sector := make([]byte, 4096)
	binary.LittleEndian.PutUint64(sector, vhdxZero)
	add(logged(file, logEntry{0, 0, 1, n - vhdxMiB, n, []logWrite{{at: vhdxTableAt, data: sector}, {at: n - vhdxMiB, zeros: 4096}}},
		logEntry{8192, 0, 2, n - vhdxMiB, n, nil}))
	f.Fuzz(func(t *testing.T, header, regions, metadata, items, table, log []byte, sums bool) {
		if len(log) > vhdxMiB || len(table) > vhdxMiB || len(metadata) > vhdxTableLen || len(items) > vhdxTableLen {
			return
		}
		header, regions = filledUp(header, 4096)[:4096], filledUp(regions, vhdxTableLen)[:vhdxTableLen]
		if sums {
			binary.LittleEndian.PutUint32(header[4:], vhdxSum(header))
			binary.LittleEndian.PutUint32(regions[4:], vhdxSum(regions))
			log = append([]byte(nil), log...)
			for at := 0; at+64 <= len(log); at += vhdxLogSector {
				if n := int64(binary.LittleEndian.Uint32(log[at+8:])); n >= 64 && n <= int64(len(log)-at) && string(log[at:at+4]) == "loge" {
					binary.LittleEndian.PutUint32(log[at+4:], vhdxSum(log[at:][:n]))
				}
			}
		}
		d, err := openVHDX(&opening{Disk: pieced{size: 8 << 20, pieces: []vhdPiece{
			{0, []byte(vhdxCookie)},
			{vhdxHeader1, header},
			{vhdxHeader2, header},
			{vhdxRegions1, regions},
			{vhdxRegions2, regions},
			{vhdxLogAt, log},
			{vhdxMetadataAt, metadata},
			{vhdxMetadataAt + vhdxTableLen, items},
			{vhdxTableAt, table},
		}}})
		sound(t, d, err)
	})
}
