package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestText cuts and cleans texts.
func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "a\x1b[31mb\nc": "a [31mb c", "\xff\xfe": "?", "ü\u0085x": "ü x",
		strings.Repeat("x", 9000):       strings.Repeat("x", MaxName),
		"x" + strings.Repeat("é", 4000): "x" + strings.Repeat("é", MaxName/2-1),
	} {
		if got := Text(in); got != want {
			t.Errorf("%.20q: got %d bytes %.20q, want %d", in, len(got), got, len(want))
		}
	}
}

// TestMalformed gives parsers what is cut short, too long, or no message.
func TestMalformed(t *testing.T) {
	info := InfoRequest{"name", []uint16{1, 3}}.Append(nil)
	meta := MetaRequest{"name", []string{"base:", "qemu:x"}}.Append(nil)
	for n := range info {
		if _, err := ParseInfoRequest(info[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("info, cut to %d bytes: %v", n, err)
		}
	}
	for n := range meta {
		if _, err := ParseMetaRequest(meta[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("meta, cut to %d bytes: %v", n, err)
		}
	}
	for _, name := range []string{strings.Repeat("x", MaxName+1), "\xff", "a\x00b"} {
		for _, err := range []error{
			parseErr(ParseInfoRequest(InfoRequest{Name: name}.Append(nil))),
			parseErr(ParseMetaRequest(MetaRequest{Name: name}.Append(nil))),
			parseErr(ParseListed(Listed{Name: name}.Append(nil))),
		} {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("name %.5q: %v", name, err)
			}
		}
	}
	many := append(MetaRequest{Name: "n"}.Append(nil)[:5], 0xff, 0xff, 0xff, 0xff)
	for what, err := range map[string]error{
		"bytes after infos":     parseErr(ParseInfoRequest(append(info, 0))),
		"bytes after queries":   parseErr(ParseMetaRequest(append(meta, 0))),
		"queries without end":   parseErr(ParseMetaRequest(many)),
		"a name without end":    parseErr(ParseListed([]byte{0xff, 0xff, 0xff, 0xff, 'x'})),
		"an option of requests": parseErr(ParseOption(Request{}.Append(nil)[:OptionLen])),
		"a reply of options":    parseErr(ParseOptionReply(append(OptionHeader{}.Append(nil), 0, 0, 0, 0))),
		"a request of replies":  parseErr(ParseRequest(append(SimpleReply{}.Append(nil), make([]byte, 12)...))),
		"a short request":       parseErr(ParseRequest(Request{}.Append(nil)[:RequestLen-1])),
	} {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func parseErr[T any](_ T, err error) error { return err }

// FuzzMessages parses arbitrary bytes as every message. What parses comes out again as the same bytes.
func FuzzMessages(f *testing.F) {
	f.Add(InfoRequest{"name", []uint16{1, 3}}.Append(nil))
	f.Add(MetaRequest{"", []string{"base:allocation", ""}}.Append(nil))
	f.Add(Request{1, CmdRead, 2, 3, 4}.Append(nil))
	f.Add(OptionHeader{OptGo, 5}.Append(nil))
	f.Add(OptionReply{OptGo, RepAck, 5}.Append(nil))
	f.Add(Geometry{1 << 60, HasFlags}.Append(nil))
	f.Add(BlockSize{512, 4096, MaxPayload}.Append(nil))
	f.Add(Listed{"name", "description"}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		again := func(m interface{ Append([]byte) []byte }, err error) {
			if err == nil && !bytes.Equal(m.Append(nil), b) {
				t.Errorf("%s %+v becomes other bytes", reflect.TypeOf(m), m)
			}
		}
		info, err := ParseInfoRequest(b)
		again(info, err)
		if err == nil && (len(info.Name) > MaxName || !utf8.ValidString(info.Name)) {
			t.Errorf("name %q", info.Name)
		}
		meta, err := ParseMetaRequest(b)
		again(meta, err)
		listed, err := ParseListed(b)
		again(listed, err)
		option, err := ParseOption(b)
		again(option, err)
		reply, err := ParseOptionReply(b)
		again(reply, err)
		request, err := ParseRequest(b)
		again(request, err)
		if size, err := ParseBlockSize(b); err == nil {
			again(size, ofKind(b, InfoBlockSize))
		}
		if geometry, err := ParseGeometry(b); err == nil {
			again(geometry, ofKind(b, InfoExport))
		}
		if text := Text(string(b)); len(text) > MaxName || !utf8.ValidString(text) {
			t.Errorf("text %q", text)
		}
	})
}

// ofKind returns an error unless an info begins with its kind, which its parser does not look at.
func ofKind(b []byte, kind uint16) error {
	if b[0] != byte(kind>>8) || b[1] != byte(kind) {
		return errors.New("another kind")
	}
	return nil
}
