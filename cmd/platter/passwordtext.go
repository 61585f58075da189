package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf16"
)

// Byte order marks, which Windows editors and shells write before text.
const (
	utf8Mark    = "\xef\xbb\xbf"
	littleMark  = "\xff\xfe"
	bigMark     = "\xfe\xff"
	replacement = '\ufffd'
)

// isUTF16 reports whether a file begins with a mark of UTF-16, as PowerShell's > writes it.
func isUTF16(p []byte) bool {
	return bytes.HasPrefix(p, []byte(littleMark)) || bytes.HasPrefix(p, []byte(bigMark))
}

// readings are the passwords that bytes may mean, the likeliest first: the text in UTF-8 without its mark; then the bytes
// themselves, which earlier versions used as the password.
func readings(p []byte) [][]byte {
	if text, ok := bytes.CutPrefix(p, []byte(utf8Mark)); ok {
		return [][]byte{text, p}
	}
	if !isUTF16(p) {
		return [][]byte{p}
	}
	if text, ok := fromUTF16(p); ok {
		return [][]byte{trimLineEnd(text), trimLineEnd(p)}
	}
	return [][]byte{trimLineEnd(p)}
}

// fromUTF16 decodes bytes with a mark, and reports whether they are valid UTF-16.
func fromUTF16(p []byte) ([]byte, bool) {
	order := binary.ByteOrder(binary.LittleEndian)
	if bytes.HasPrefix(p, []byte(bigMark)) {
		order = binary.BigEndian
	}
	if len(p)%2 != 0 {
		return nil, false
	}
	units := make([]uint16, 0, len(p)/2)
	for p = p[2:]; len(p) > 0; p = p[2:] {
		units = append(units, order.Uint16(p))
	}
	text := []byte(string(utf16.Decode(units)))
	return text, !bytes.ContainsRune(text, replacement)
}

// newReading is the reading of bytes as a new password.
func newReading(p []byte) ([]byte, error) {
	text := readings(p)[0]
	if bytes.IndexByte(text, 0) >= 0 || isUTF16(text) {
		return nil, errors.New("it is not text: it has NUL bytes, or is partly UTF-16. Save it as UTF-8, or encode a binary key with base64")
	}
	return text, nil
}
