package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// escapeUnprintable escapes in JSON the characters that a terminal would obey or not show: those that printable replaces in other
// text. Anyone who can write to a disk chooses its labels and names; a JSON parser still gets them unchanged. Except for line
// ends, such characters occur only in strings.
func escapeUnprintable(text []byte) []byte {
	isFine := func(c rune) bool { return c == '\n' || unicode.IsPrint(c) }
	if bytes.IndexFunc(text, func(c rune) bool { return !isFine(c) }) < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for len(text) > 0 {
		c, n := utf8.DecodeRune(text)
		switch a, b := utf16.EncodeRune(c); {
		case isFine(c):
			out = utf8.AppendRune(out, c)
		case a != unicode.ReplacementChar:
			out = fmt.Appendf(out, `\u%04x\u%04x`, a, b)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
		text = text[n:]
	}
	return out
}

// printJSON prints v as the one document that --json promises.
func (e *env) printJSON(v any) error {
	text, err := jsonText(v)
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	_, err = e.stdout.Write(text)
	return err
}

// jsonText returns v as a document for people to read too.
func jsonText(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return escapeUnprintable(out.Bytes()), err
}

// complainJSON prints v as one line on standard error. Its fields are strings and numbers, which always encode.
func (e *env) complainJSON(v any) {
	line, _ := json.Marshal(v)
	_, _ = e.stderr.Write(append(escapeUnprintable(line), '\n'))
}
