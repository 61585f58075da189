package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// An InfoRequest is the data of OptInfo and OptGo.
//
//	4 length of name | name | 2 number of infos | 2 each info
type InfoRequest struct {
	Name  string
	Infos []uint16
}

// Append appends the data's bytes.
func (r InfoRequest) Append(b []byte) []byte {
	b = appendString(b, r.Name)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Infos)))
	for _, info := range r.Infos {
		b = binary.BigEndian.AppendUint16(b, info)
	}
	return b
}

// ParseInfoRequest reads the data of OptInfo or OptGo. An error wraps ErrMalformed.
func ParseInfoRequest(b []byte) (r InfoRequest, err error) {
	if r.Name, b, err = cutString(b); err != nil {
		return r, fmt.Errorf("export's name: %w", err)
	}
	if len(b) < 2 || len(b)-2 != 2*int(binary.BigEndian.Uint16(b)) {
		return r, fmt.Errorf("list of infos: %w: its length is wrong", ErrMalformed)
	}
	for b = b[2:]; len(b) > 0; b = b[2:] {
		r.Infos = append(r.Infos, binary.BigEndian.Uint16(b))
	}
	return r, CheckName(r.Name)
}

// A MetaRequest is the data of OptListMetaContext and OptSetMetaContext.
//
//	4 length of name | name | 4 number of queries | each query: 4 length, query
type MetaRequest struct {
	Name    string
	Queries []string
}

// Append appends the data's bytes.
func (r MetaRequest) Append(b []byte) []byte {
	b = appendString(b, r.Name)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Queries)))
	for _, q := range r.Queries {
		b = appendString(b, q)
	}
	return b
}

// ParseMetaRequest reads the data of OptListMetaContext or OptSetMetaContext. An error wraps ErrMalformed.
func ParseMetaRequest(b []byte) (r MetaRequest, err error) {
	if r.Name, b, err = cutString(b); err != nil {
		return r, fmt.Errorf("export's name: %w", err)
	}
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4)/4 {
		return r, fmt.Errorf("list of queries: %w: its length is wrong", ErrMalformed)
	}
	n := binary.BigEndian.Uint32(b)
	for b = b[4:]; n > 0; n-- {
		var query string
		if query, b, err = cutString(b); err != nil {
			return r, fmt.Errorf("query: %w", err)
		}
		r.Queries = append(r.Queries, query)
	}
	if len(b) > 0 {
		return r, fmt.Errorf("list of queries: %w: %d bytes follow it", ErrMalformed, len(b))
	}
	return r, CheckName(r.Name)
}

// A Listed is the data of RepServer: an export in a list.
//
//	4 length of name | name | description
type Listed struct{ Name, Description string }

// Append appends the data's bytes.
func (l Listed) Append(b []byte) []byte { return append(appendString(b, l.Name), l.Description...) }

// ParseListed reads the data of RepServer. An error wraps ErrMalformed.
func ParseListed(b []byte) (Listed, error) {
	name, rest, err := cutString(b)
	if err != nil {
		return Listed{}, fmt.Errorf("export's name: %w", err)
	}
	return Listed{name, string(rest)}, CheckName(name)
}

// A Geometry is what the server tells about an export: InfoExport.
//
//	2 InfoExport | 8 size | 2 transmission flags
type Geometry struct {
	Size  uint64 // bytes
	Flags uint16
}

// Append appends the info's bytes.
func (g Geometry) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, InfoExport)
	b = binary.BigEndian.AppendUint64(b, g.Size)
	return binary.BigEndian.AppendUint16(b, g.Flags)
}

// A BlockSize is which requests the server accepts: InfoBlockSize.
//
//	2 InfoBlockSize | 4 minimum | 4 preferred | 4 maximum
type BlockSize struct {
	Min       uint32 // bytes; offsets and lengths are multiples of it
	Preferred uint32 // bytes
	Max       uint32 // bytes of data in one request
}

// Append appends the info's bytes.
func (s BlockSize) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, InfoBlockSize)
	b = binary.BigEndian.AppendUint32(b, s.Min)
	b = binary.BigEndian.AppendUint32(b, s.Preferred)
	return binary.BigEndian.AppendUint32(b, s.Max)
}

// ParseBlockSize reads an InfoBlockSize. An error wraps ErrMalformed.
func ParseBlockSize(b []byte) (BlockSize, error) {
	if len(b) != 14 {
		return BlockSize{}, fmt.Errorf("block size: %w: its length is %d", ErrMalformed, len(b))
	}
	s := BlockSize{binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:]), binary.BigEndian.Uint32(b[10:])}
	switch {
	case s.Min == 0 || s.Min&(s.Min-1) != 0 || s.Min > 1<<16:
		return s, fmt.Errorf("block size: %w: a minimum of %d bytes", ErrMalformed, s.Min)
	case s.Max < s.Min:
		return s, fmt.Errorf("block size: %w: a maximum of %d bytes below the minimum of %d", ErrMalformed, s.Max, s.Min)
	}
	return s, nil
}

// ParseGeometry reads an InfoExport. An error wraps ErrMalformed.
func ParseGeometry(b []byte) (Geometry, error) {
	if len(b) != 12 {
		return Geometry{}, fmt.Errorf("size of the export: %w: its length is %d", ErrMalformed, len(b))
	}
	return Geometry{binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint16(b[10:])}, nil
}

// CheckName returns an error that wraps ErrMalformed if an export cannot have this name.
func CheckName(name string) error {
	switch {
	case len(name) > MaxName:
		return fmt.Errorf("export's name: %w: it has %d bytes, more than %d", ErrMalformed, len(name), MaxName)
	case !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("export's name: %w: it is not UTF-8, or has a zero byte", ErrMalformed)
	}
	return nil
}

// Text makes a text fit to be sent or shown: valid UTF-8 without control characters, at most MaxName bytes.
func Text(s string) string {
	s = s[:min(len(s), 2*MaxName)]
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= MaxName {
		return s
	}
	n := MaxName
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// appendString appends a string after its length.
func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// cutString returns the string at the start of b, which follows its length, and the bytes after it.
func cutString(b []byte) (s string, rest []byte, err error) {
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return "", nil, fmt.Errorf("%w: it is cut short", ErrMalformed)
	}
	n := binary.BigEndian.Uint32(b)
	return string(b[4 : 4+n]), b[4+n:], nil
}
