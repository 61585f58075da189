package anatomy

import (
	"crypto/md5"
	"fmt"
	"strings"
	"unicode"
)

// iso9660 has a list of volume descriptors at 32 KiB, 2 KiB each.
func iso9660(s *section) *found {
	const start, each = 32 << 10, 2 << 10
	var primary, joliet []byte
	for i := range int64(16) {
		b := s.at(start+each*i, each)
		if b == nil || string(b[1:6]) != "CD001" || b[0] == 0xff {
			break
		}
		switch {
		case b[0] == 1 && primary == nil:
			primary = b
		case b[0] == 2 && joliet == nil && b[88] == '%' && b[89] == '/' && strings.ContainsRune("@CE", rune(b[90])):
			joliet = b
		}
	}
	if primary == nil {
		return nil
	}
	c := Content{Type: typeISO, Label: label(primary[40:72]), Size: int64(le.Uint32(primary[80:])) * int64(le.Uint16(primary[128:]))}
	if joliet != nil {
		c.Version = "Joliet Extension"
		c.Label = jolietLabel(c.Label, label16(joliet[40:72], be))
	}
	for _, at := range []int{830, 813} { // modified, created
		t := string(primary[at : at+16])
		if strings.Trim(t, "0") == "" && primary[at+16] == 0 || strings.ContainsFunc(t, func(c rune) bool { return c < '0' || c > '9' }) {
			continue
		}
		c.UUID = fmt.Sprintf("%s-%s-%s-%s-%s-%s-%s", t[:4], t[4:6], t[6:8], t[8:10], t[10:12], t[12:14], t[14:])
		break
	}
	return s.found(start, c)
}

// jolietLabel merges the two labels if one is a prefix of the other: Joliet's has all characters, but at most 16 of
// them.
func jolietLabel(primary, joliet string) string {
	out, long := []rune{}, []rune(primary)
	for i, c := range []rune(joliet) {
		if i >= len(long) {
			return joliet
		}
		switch p := long[i]; {
		case p == '_':
			out = append(out, c)
		case c == '_':
			out = append(out, p)
		case unicode.ToUpper(p) == unicode.ToUpper(c):
			if unicode.IsUpper(p) {
				p = c
			}
			out = append(out, p)
		default:
			return joliet
		}
	}
	return string(append(out, long[len(out):]...))
}

// apfs is a container that begins with its superblock.
func apfs(s *section) *found {
	b := s.at(0, 4096)
	if b == nil || string(b[32:36]) != "NXSB" || le.Uint16(b[24:]) != 1 {
		return nil
	}
	return s.found(0, Content{Type: "apfs", UUID: uuid(b[72:88]), Size: product(le.Uint64(b[40:]), uint64(le.Uint32(b[36:])))})
}

// hfs finds Apple's HFS, or HFS+, which may be inside an HFS: a header of big-endian numbers at byte 1024.
func hfs(s *section) *found {
	const start = 1024
	b := s.at(start, 512)
	if b == nil {
		return nil
	}
	at := int64(0) // offset of the HFS+ in the section
	if string(b[:2]) == "BD" {
		length := be.Uint32(b[20:])
		if length == 0 || length%512 != 0 {
			return nil
		}
		if embedded := string(b[124:126]); embedded != "H+" && embedded != "HX" {
			return s.found(start, Content{
				Type: "hfs", Label: label(b[37 : 37+min(int(b[36]), 27)]), UUID: hfsUUID(b[116:124]),
				Size: int64(be.Uint16(b[18:])) * int64(length),
			})
		}
		at = int64(be.Uint16(b[28:]))*512 + int64(be.Uint16(b[126:]))*int64(length)
		if b = s.at(at+start, 512); b == nil {
			return nil
		}
	}
	if sign := string(b[:2]); sign != "H+" && sign != "HX" {
		return nil
	}
	size := uint64(be.Uint32(b[40:]))
	if size < 512 || size&(size-1) != 0 {
		return nil
	}
	return s.found(at+start, Content{
		Type: "hfsplus", Label: s.catalogLabel(at, int64(size), b[288:352]), UUID: hfsUUID(b[104:112]),
		Size: product(uint64(be.Uint32(b[44:])), size),
	})
}

// hfsUUID computes a UUID from a volume's 8 bytes, as macOS and blkid do.
func hfsUUID(id []byte) string {
	if [8]byte(id) == [8]byte{} {
		return ""
	}
	sum := md5.Sum(append([]byte("\xb3\xe2\x0f\x39\xf2\x92\x11\xd6\x97\xa4\x00\x30\x65\x43\xec\xac"), id...))
	sum[6] = sum[6]&0x0f | 0x30
	sum[8] = sum[8]&0x3f | 0x80
	return uuid(sum[:])
}

// catalogLabel returns the volume's name, which is the first entry in the first leaf of the catalogue. extents are
// the catalogue's first.
func (s *section) catalogLabel(at, block int64, extents []byte) string {
	const descriptor = 14
	b := s.at(at+int64(be.Uint32(extents))*block, 512)
	if b == nil {
		return ""
	}
	node := int64(be.Uint16(b[descriptor+18:]))
	if node < 512 {
		return ""
	}
	leaf := int64(be.Uint32(b[descriptor+10:])) * node // in the catalogue
	for ; len(extents) >= 8; extents = extents[8:] {
		first, count := int64(be.Uint32(extents)), int64(be.Uint32(extents[4:]))
		if leaf >= count*block {
			leaf -= count * block
			continue
		}
		b = s.at(at+first*block+leaf, int(node))
		// The key: its length, the parent folder (1 for the root), the name's length, the name.
		const name = descriptor + 8
		if b == nil || b[8] != 0xff || be.Uint16(b[10:]) == 0 || be.Uint32(b[descriptor+2:]) != 1 {
			return ""
		}
		return label16(b[name:min(name+2*int(be.Uint16(b[descriptor+6:])), len(b))], be)
	}
	return ""
}
