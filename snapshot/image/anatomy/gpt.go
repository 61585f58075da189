package anatomy

import (
	"bytes"
	"fmt"
	"hash/crc32"
)

// maxEntries is how many bytes the entries of a GPT may take; 16 KiB is what they do take.
const maxEntries = 1 << 20

// A gpt is one of the two copies of a GPT, header and entries proved by their checksums.
//
//	 0           8         12      16     20   24       32       40      48      56
//	+-----------+---------+-------+------+----+--------+--------+-------+-------+-----------+
//	| EFI PART  | revision| length| crc  | 0  | my lba | other  | first | last  | disk guid |
//	| 8         | u32     | u32   | u32  | u32| u64    | u64    | u64   | u64   | 16        |
//	+-----------+---------+-------+------+----+--------+--------+-------+-------+-----------+
//	 72           80           84         88
//	+------------+------------+----------+-----------------+
//	| entries'   | how many   | length   | crc of entries  |
//	| lba, u64   | u32        | of each  | u32             |
//	+------------+------------+----------+-----------------+
type gpt struct {
	sector    int64
	header    []byte
	entries   []byte
	entryLen  int
	alternate uint64 // where the other copy is, in sectors
}

// gptAt reads the copy at a sector. Where there is none that can be trusted, why says what is wrong with it; it is empty where
// nothing looks like one.
func (r *reader) gptAt(lba uint64, sector int64) (g *gpt, why string) {
	off := product(lba, uint64(sector))
	h := r.read(off, int(sector))
	if len(h) < int(sector) || string(h[:8]) != "EFI PART" {
		return nil, ""
	}
	length := le.Uint32(h[12:])
	if length < 92 || int64(length) > sector {
		return nil, fmt.Sprintf("its header claims to be %d bytes long", length)
	}
	sum := le.Uint32(h[16:])
	copied := bytes.Clone(h[:length])
	clear(copied[16:20])
	if crc32.ChecksumIEEE(copied) != sum {
		return nil, "the checksum of its header is wrong"
	}
	if at := le.Uint64(h[24:]); at != lba {
		return nil, fmt.Sprintf("it says that it is at sector %d, and is at %d", at, lba)
	}
	count, each := uint64(le.Uint32(h[80:])), uint64(le.Uint32(h[84:]))
	if each < 128 || each > 4096 || each%8 != 0 || count == 0 || count*each > maxEntries {
		return nil, fmt.Sprintf("it claims to have %d entries of %d bytes", count, each)
	}
	entries := r.read(product(le.Uint64(h[72:]), uint64(sector)), int(count*each))
	if uint64(len(entries)) < count*each {
		return nil, "its entries cannot be read"
	}
	if crc32.ChecksumIEEE(entries) != le.Uint32(h[88:]) {
		return nil, "the checksum of its entries is wrong"
	}
	return &gpt{sector, h, entries, int(each), le.Uint64(h[32:])}, ""
}

// findGPT looks for both copies and returns the one to believe. seen says that there is, or was, a GPT at least.
func (r *reader) findGPT() (g *gpt, seen bool) {
	sectors := []int64{512, 4096}
	if r.sector != 0 {
		sectors = []int64{r.sector}
	}
	for _, sector := range sectors {
		if r.size < 3*sector {
			continue
		}
		last := uint64(r.size/sector - 1)
		first, why := r.gptAt(1, sector)
		at := last
		if first != nil {
			at = first.alternate
		}
		second, whySecond := r.gptAt(at, sector)
		if first == nil && second == nil {
			if why != "" || whySecond != "" {
				seen = true
				r.gptNote("primary", why)
				r.gptNote("backup", whySecond)
			}
			continue
		}
		if first == nil {
			if why == "" {
				why = "it is not there"
			}
			r.note("the primary GPT is damaged (%s); this is the backup", why)
			return second, true
		}
		r.compareGPT(first, second, whySecond, last)
		return first, true
	}
	return nil, seen
}

func (r *reader) gptNote(which, why string) {
	if why == "" {
		why = "it is not there"
	}
	r.note("the %s GPT is damaged (%s)", which, why)
}

// compareGPT notes what is wrong with the backup of a table that is whole.
func (r *reader) compareGPT(first, second *gpt, why string, last uint64) {
	switch {
	case first.alternate > last:
		r.note("the disk was longer when its GPT was made: the backup would be at sector %d, the last one is %d", first.alternate, last)
	case second == nil:
		r.gptNote("backup", why)
	case !bytes.Equal(first.entries, second.entries) || !bytes.Equal(first.header[56:72], second.header[56:72]):
		r.note("the backup GPT is of another table than the primary one, which this is")
	}
	if first.alternate < last {
		r.note("the backup GPT is not at the end of the disk, which may have grown")
	}
}

// partitions takes the entries in.
//
//	 0          16          32         40        48          56
//	+----------+-----------+----------+---------+-----------+--------------------+
//	| type     | partition | first    | last    | attributes| name, 36 units of  |
//	| guid     | guid      | lba, u64 | lba, u64| u64       | UTF-16             |
//	+----------+-----------+----------+---------+-----------+--------------------+
func (g *gpt) partitions(r *reader, d *Disk) {
	d.Table, d.ID, d.SectorSize = GPT, guid(g.header[56:72]), g.sector
	for i, e := 0, g.entries; len(e) > 0; i, e = i+1, e[g.entryLen:] {
		if [16]byte(e) == [16]byte{} {
			continue
		}
		first, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		p := Partition{Number: i + 1, Type: guid(e[:16]), UUID: guid(e[16:32]), Name: label16(e[56:128], le)}
		p.TypeName = gptTypes[p.Type]
		p.Off, p.Len = product(first, uint64(g.sector)), -1
		if first <= last && last-first < 1<<62 {
			p.Len = product(last-first+1, uint64(g.sector))
		}
		for _, a := range gptFlags {
			if le.Uint64(e[48:])>>a.bit&1 != 0 {
				p.Flags = append(p.Flags, a.name)
			}
		}
		if !r.add(d, p) {
			return
		}
	}
}

const (
	flagBoot     = "boot"
	flagExtended = "extended"
)

// gptFlags are the attributes that matter to people. The higher ones are the type's own, and mean the same to all types
// that use them.
var gptFlags = []struct {
	bit  int
	name string
}{{2, flagBoot}, {0, "required"}, {60, "read-only"}, {62, "hidden"}, {63, "no-automount"}}
