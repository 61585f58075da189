package nbd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrust checks which certificates count: those given, then those of the URI, then the first folder that has a CA.
func TestTrust(t *testing.T) {
	pki := func(files ...string) string {
		folder := t.TempDir()
		for _, name := range files {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return folder
	}
	empty, ca, both := pki(), pki(caFile), pki(caFile, certFile, keyFile)
	for _, tc := range []struct {
		uri  string
		o    Options
		want string // a file that is read, and is not in PEM form; "" for none
	}{
		{"nbds://h/x", Options{}, ""},
		{"nbds://h/x", Options{Folders: []string{empty}}, ""},
		{"nbds://h/x", Options{Folders: []string{empty, ca, both}}, filepath.Join(ca, caFile)},
		{"nbds://h/x?tls-certificates=" + both, Options{Folders: []string{ca}}, filepath.Join(both, caFile)},
		{"nbds://h/x?tls-certificates=" + both, Options{CA: filepath.Join(ca, caFile)}, filepath.Join(ca, caFile)},
		{"nbd://h/x", Options{Folders: []string{ca}}, ""},
	} {
		to := mustParse(t, tc.uri)
		err := to.trust(tc.o)
		if tc.want == "" && (err != nil || to.secure != (to.tls != nil)) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want+" has no certificate")) {
			t.Errorf("%s, %+v: %v, want %q", tc.uri, tc.o, err, tc.want)
		}
	}
	if o, err := inFolder(both); err != nil || o.Cert == "" || o.Key == "" {
		t.Errorf("a folder with all: %+v, %v", o, err)
	}
	if o, err := inFolder(ca); err != nil || o.Cert != "" || o.Key != "" {
		t.Errorf("a folder with a CA: %+v, %v", o, err)
	}
	if err := mustParse(t, "nbds://h/x?tls-certificates="+empty).trust(Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without a CA: %v", err)
	}
	if err := mustParse(t, "nbd://h/").trust(Options{CA: "ca.pem"}); err == nil {
		t.Error("certificates without TLS are accepted")
	}
}
