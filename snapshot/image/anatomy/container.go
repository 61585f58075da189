package anatomy

import (
	"fmt"
	"hash/crc32"
	"strconv"
)

// md finds a member of a Linux RAID, whose superblock is in one of four places, by its version.
func md(s *section) *found {
	const magic, reserved = 0xa92b4efc, 64 << 10
	last := s.size&^4095 - 8<<10
	for _, place := range []struct {
		version string
		at      int64
	}{{"1.0", last}, {"1.1", 0}, {"1.2", 4096}} {
		b := s.at(place.at, 256)
		if b == nil || le.Uint32(b) != magic || le.Uint32(b[4:]) != 1 || le.Uint64(b[144:]) != uint64(place.at)>>9 {
			continue
		}
		return s.found(place.at, Content{Type: typeMD, Version: place.version, Label: label(b[32:64]), UUID: uuid(b[16:32])})
	}
	at := s.size&^(reserved-1) - reserved
	b := s.at(at, 64)
	if b == nil || le.Uint32(b) != magic || le.Uint32(b[4:]) != 0 || product(uint64(le.Uint32(b[32:])), 1024) > at {
		return nil
	}
	var id [16]byte
	for i, off := range []int{20, 52, 56, 60} {
		be.PutUint32(id[4*i:], le.Uint32(b[off:]))
	}
	return s.found(at, Content{Type: typeMD, Version: fmt.Sprintf("0.%d", le.Uint32(b[8:])), UUID: uuid(id[:])})
}

// lvm finds a physical volume of LVM2, whose label is in one of the first four sectors.
func lvm(s *section) *found {
	for sector := range int64(4) {
		b := s.at(512*sector, 512)
		if b == nil || string(b[:8]) != "LABELONE" || string(b[24:32]) != "LVM2 001" || le.Uint64(b[8:]) != uint64(sector) {
			continue
		}
		// LVM's CRC is the usual one with another initial value, and is not inverted at the end.
		if ^crc32.Update(^uint32(0xf597a6cf), crc32.IEEETable, b[20:]) != le.Uint32(b[16:]) {
			continue
		}
		c := Content{Type: "LVM2_member"}
		if at := le.Uint32(b[20:]); at <= 512-40 {
			id := b[at:]
			c.UUID = label(fmt.Appendf(nil, "%s-%s-%s-%s-%s-%s-%s", id[:6], id[6:10], id[10:14], id[14:18], id[18:22], id[22:26], id[26:32]))
			c.Size = int64(le.Uint64(id[32:]))
		}
		return s.found(512*sector, c)
	}
	return nil
}

// luks begins with a header in big-endian numbers. The length of the disk in it follows from the section's.
func luks(s *section) *found {
	b := s.at(0, 512)
	if b == nil || string(b[:6]) != "LUKS\xba\xbe" {
		return nil
	}
	switch version := be.Uint16(b[6:]); version {
	case 1:
		return s.found(0, Content{Type: "crypto_LUKS", Version: "1", UUID: label(b[168:208])})
	case 2:
		return s.found(0, Content{Type: "crypto_LUKS", Version: "2", Label: label(b[24:72]), UUID: label(b[168:208])})
	}
	return nil
}

// bitlocker begins with a boot sector that points to its metadata.
func bitlocker(s *section) *found {
	b := s.at(0, 512)
	if b == nil {
		return nil
	}
	c := Content{Type: "BitLocker"}
	var at uint64
	switch string(b[:11]) {
	case "\xeb\x52\x90-FVE-FS-": // Vista
		return s.found(0, c)
	case "\xeb\x58\x90-FVE-FS-":
		at = le.Uint64(b[176:])
	case "\xeb\x58\x90MSWIN4.1": // BitLocker To Go, or else FAT
		at = le.Uint64(b[440:])
	default:
		return nil
	}
	meta := s.at(int64(at), 112)
	if meta == nil || at == 0 || at%64 != 0 || string(meta[:8]) != "-FVE-FS-" {
		return nil
	}
	c.Version, c.UUID = fmt.Sprint(le.Uint16(meta[10:])), guid(meta[80:])
	return s.found(0, c)
}

// zfs finds a member of a pool. It has four labels; this reads the first, at 16 KiB: a list of names and values,
// encoded as XDR.
func zfs(s *section) *found {
	const start, length = 16 << 10, 56 << 10 // of 112 KiB; the wanted values come first
	b := s.at(start, length)
	if b == nil || b[0] != 1 || b[1] > 1 || s.size < 64<<20 {
		return nil
	}
	c := Content{Type: "zfs_member"}
	const (
		kindUint64 = 8
		kindString = 9
	)
	// A pair: its length, its length in memory, the name's length, the name, a kind, a count, the value.
	for b = b[12:]; len(b) >= 12; {
		n, name := be.Uint32(b), be.Uint32(b[8:])
		if n < 12 || int64(n) > int64(len(b)) || name > 64 {
			break
		}
		pair := b[12:n]
		b = b[n:]
		if padded := int(name+3) &^ 3; len(pair) >= padded+12 {
			key, kind, value := string(pair[:name]), be.Uint32(pair[padded:]), pair[padded+8:]
			switch {
			case key == "version" && kind == kindUint64 && len(value) >= 8:
				c.Version = strconv.FormatUint(be.Uint64(value), 10)
			case key == "pool_guid" && kind == kindUint64 && len(value) >= 8:
				c.UUID = strconv.FormatUint(be.Uint64(value), 10)
			case key == "name" && kind == kindString && int64(be.Uint32(value)) <= int64(len(value)-4):
				c.Label = label(value[4:][:be.Uint32(value)])
			}
		}
	}
	if c.UUID == "" {
		return nil
	}
	return s.found(start, c)
}
