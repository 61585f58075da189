package anatomy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var le, be = binary.LittleEndian, binary.BigEndian

// label cleans text for display: it drops everything from a zero byte on, and trailing spaces.
func label(p []byte) string {
	p, _, _ = bytes.Cut(p, []byte{0})
	return clean(string(p))
}

// label16 is label for UTF-16.
func label16(p []byte, order binary.ByteOrder) string {
	var units []uint16
	for ; len(p) >= 2; p = p[2:] {
		unit := order.Uint16(p)
		if unit == 0 {
			break
		}
		units = append(units, unit)
	}
	return clean(string(utf16.Decode(units)))
}

func clean(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) > maxText {
		end := maxText
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return strings.TrimRight(s, " \t\n\v\f\r")
}

// uuid formats 16 bytes. It returns "" for zeros.
func uuid(p []byte) string {
	if len(p) < 16 || [16]byte(p) == [16]byte{} {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", p[:4], p[4:6], p[6:8], p[8:10], p[10:16])
}

// guid formats 16 bytes whose first three numbers are little-endian, as Microsoft and UEFI write them.
func guid(p []byte) string {
	if len(p) < 16 {
		return ""
	}
	var b [16]byte
	be.PutUint32(b[:], le.Uint32(p))
	be.PutUint16(b[4:], le.Uint16(p[4:]))
	be.PutUint16(b[6:], le.Uint16(p[6:]))
	copy(b[8:], p[8:])
	return uuid(b[:])
}

// serial formats the 4-byte serial number of a FAT.
func serial(p []byte) string { return fmt.Sprintf("%02X%02X-%02X%02X", p[3], p[2], p[1], p[0]) }
