package main

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"platter/repo"
	"platter/repo/repotest"
	"platter/repo/store/storetest"
)

// inUTF16 encodes a text as editors of Windows do.
func inUTF16(order binary.AppendByteOrder, text string) string {
	out := order.AppendUint16(nil, 0xfeff)
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

// passwordFiles are what a password file may hold, and which password that is.
var passwordFiles = []struct{ name, content, password string }{
	{"plain", "pässwörd", "pässwörd"},
	{"a line", "pässwörd\n", "pässwörd"},
	{"a line of Windows", "pässwörd\r\n", "pässwörd"},
	{"UTF-8 with a mark", utf8Mark + "pässwörd", "pässwörd"},
	{"UTF-8 with a mark, a line of Windows", utf8Mark + "pässwörd\r\n", "pässwörd"},
	{"PowerShell", inUTF16(binary.LittleEndian, "pässwörd\r\n"), "pässwörd"},
	{"PowerShell without a line end", inUTF16(binary.LittleEndian, "pässwörd"), "pässwörd"},
	{"big end first", inUTF16(binary.BigEndian, "pässwörd\r\n"), "pässwörd"},
	{"big end first, one line end", inUTF16(binary.BigEndian, "pässwörd\n"), "pässwörd"},
	{"a byte that looks like a line end", inUTF16(binary.LittleEndian, "p\u0a41"), "p\u0a41"},
	{"beyond 16 bits", inUTF16(binary.LittleEndian, "p😀\r\n"), "p😀"},
	{"two lines", "one\ntwo\n", "one\ntwo"},
	{"blanks", "  p w \n", "  p w "},
}

// TestPasswordFiles checks that a file opens the repository that was made with it, and with the password that it shows.
func TestPasswordFiles(t *testing.T) {
	for _, test := range passwordFiles {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			e, _, _ := testEnv(t)
			got, err := e.newPassword(t.Context(), passwordSource{name: "new-password", file: path})
			if err != nil || string(got) != test.password {
				t.Errorf("a new password is %q, %v; want %q", got, err, test.password)
			}
			opened, err := e.password(t.Context(), passwordSource{name: "password", file: path})
			if err != nil || string(readings(opened)[0]) != test.password {
				t.Errorf("a password is %q, %v; want %q first", readings(opened), err, test.password)
			}
		})
	}
}

// TestPasswordFilesAsBefore checks that repositories which were made with the bytes of a file, marks and all, still open with it.
func TestPasswordFilesAsBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	e, _, _ := testEnv(t)
	e.getenv = func(string) string { return "" }
	files := append(slices.Clone(passwordFiles), struct{ name, content, password string }{"no text", "a\x00b\n\xff\n", ""})
	for _, test := range files {
		dir := t.TempDir()
		if _, err := repo.Init(t.Context(), storetest.OpenLocal(t, dir, nil), trimLineEnd([]byte(test.content)), repotest.Cost(), "", repo.DefaultSettings); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openRepo(t.Context(), e, common{repo: dir, noCache: true, password: passwordSource{name: "password", file: path}}); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := openRepo(t.Context(), e, common{repo: t.TempDir(), noCache: true, password: passwordSource{name: "password", file: path}}); !errors.Is(err, repo.ErrNoRepository) {
		t.Errorf("no repository: %v", err)
	}
}

// TestPasswordIsText checks that what is no text becomes no password.
func TestPasswordIsText(t *testing.T) {
	for _, content := range []string{
		"a\x00b", "p\x00w\x00", littleMark + "p", littleMark + "\x00\xd8", littleMark + "\x00\x00p\x00\x00\x00", "\x00",
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		e, _, _ := testEnv(t)
		p, err := e.newPassword(context.Background(), passwordSource{name: "new-password", file: path})
		if err == nil || !strings.Contains(err.Error(), "it is not text") {
			t.Errorf("%q: %q, %v", content, p, err)
		}
	}
}
