package nbd

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestURIs reads the examples of the URI's definition, and some that are refused.
func TestURIs(t *testing.T) {
	for uri, want := range map[string]string{
		"nbd://example.com/disk":                  "tcp example.com:10809 disk",
		"nbd://example.com/":                      "tcp example.com:10809 ",
		"nbd://example.com":                       "tcp example.com:10809 ",
		"nbd://example.com:10810//disk":           "tcp example.com:10810 /disk",
		"nbd://example.com/hello%20world":         "tcp example.com:10809 hello world",
		"nbd://[::1]:7/a/b":                       "tcp [::1]:7 a/b",
		"nbd:///":                                 "tcp localhost:10809 ",
		"NBD://h":                                 "tcp h:10809 ",
		"nbd+unix:///disk?socket=sock":            "unix sock disk",
		"nbd+unix:///?socket=/tmp/a%3db":          "unix /tmp/a=b ",
		"nbds://h/x":                              "tcp h:10809 x TLS h",
		"nbds://[::1]/x?tls-type=x509":            "tcp [::1]:10809 x TLS ::1",
		"nbds+unix:///x?socket=s&tls-hostname=cn": "unix s x TLS cn",
		"nbds://h/x?tls-certificates=/pki":        "tcp h:10809 x TLS h/pki",
		"nbd+unix:///?socket=a+b%20c":             "unix a+b c ",
		"nbd://h/x?tls-certificates=/pki":         "",
		"nbd+unix:///disk":                        "",
		"nbd+unix://host/disk?socket=s":           "",
		"nbd://h/x?socket=s":                      "",
		"nbd://h/x?tls-verify-peer=0":             "",
		"nbds://h/x?tls-verify-peer=0":            "",
		"nbds://h/x?tls-type=psk":                 "",
		"nbd://user@h/x":                          "",
		"nbd://h/x#y":                             "",
		"nbd://h/%ff":                             "",
		"nbd://h/%00":                             "",
		"nbd://h/" + strings.Repeat("x", 4097):    "",
		"nbd://h/x?%zz":                           "",
		"http://h/x":                              "",
		"nbd:h":                                   "",
		"nbd://h:port/":                           "",
		"nbd://h/x?socket=%ff&" + strings.Repeat("a=b&", 100): "",
	} {
		got := ""
		if t, err := parseURI(uri); err == nil {
			got = fmt.Sprintf("%s %s %s", t.network, t.address, t.name)
			if t.secure {
				got += " TLS " + t.host + t.certificates
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", uri, got, want)
		}
	}
}

// TestPlace checks that all URIs of an export have one place, and others another one. A place is a URI of the same export.
func TestPlace(t *testing.T) {
	socket, err := filepath.Abs("a b+c")
	if err != nil {
		t.Fatal(err)
	}
	unix := "?socket=" + EscapeSocket(socket)
	for uri, want := range map[string]string{
		"nbd://Example.com:10809/disk": "nbd://example.com/disk",
		"NBD://example.com/disk":       "nbd://example.com/disk",
		"nbd://example.com:1/disk":     "nbd://example.com:1/disk",
		"nbd://example.com":            "nbd://example.com/",
		"nbd:///x":                     "nbd://localhost/x",
		"nbd://[FE80::1]/x":            "nbd://[fe80::1]/x",
		"nbd://[::1]:7/a%20b/c":        "nbd://[::1]:7/a%20b/c",
		"nbd://h//dev/sda":             "nbd://h//dev/sda",
		"nbds://h/x?tls-certificates=/secret&tls-type=x509":     "nbds://h/x",
		"nbds://h/x?tls-hostname=other":                         "nbds://h/x",
		"nbd+unix:///?socket=a%20b%2bc":                         "nbd+unix:///" + unix,
		"nbd+unix:///Disk?socket=./a%20b%2Bc":                   "nbd+unix:///Disk" + unix,
		"nbds+unix:///%3F%23?socket=a%20b+c&tls-certificates=d": "nbds+unix:///%3F%23" + unix,
		"nbd://user:secret@h/x":                                 "",
	} {
		got, err := Place(uri)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", uri, got, err, want)
		}
		if err != nil {
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("a password is shown: %v", err)
			}
			continue
		}
		if again, err := Place(got); again != got || err != nil {
			t.Errorf("%s: the place of its place is %q, %v", uri, again, err)
		}
		from, to := mustParse(t, uri), mustParse(t, got)
		if from.name != to.name || from.network != to.network || from.network == "unix" && to.address != socket {
			t.Errorf("%s: its place %s is another export", uri, got)
		}
	}
}

func mustParse(t *testing.T, uri string) *target {
	t.Helper()
	to, err := parseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestDiskName(t *testing.T) {
	for uri, want := range map[string]string{
		"nbd://Host/vda":                      "vda",
		"nbd://h/pool/vol-1":                  "vol-1",
		"nbd://h//dev/sda/":                   "sda",
		"nbd://Host:7/":                       "host",
		"nbd://[::1]":                         "::1",
		"nbd+unix:///?socket=/run/web.nbd":    "web.nbd",
		"nbd+unix:///vda?socket=/run/web.nbd": "vda",
	} {
		if got := DiskName(uri); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
	if got := Socket("nbd+unix:///vda?socket=/run/web.nbd"); got != "/run/web.nbd" {
		t.Errorf("socket %q", got)
	}
	if got := Socket("nbd://h/vda"); got != "" {
		t.Errorf("socket %q", got)
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("nbd://Example.com:10809/disk")
	f.Add("nbds+unix:///%3F%23?socket=a%20b+c&tls-certificates=d")
	f.Fuzz(func(t *testing.T, uri string) {
		place, err := Place(uri)
		if err != nil {
			return
		}
		if again, err := Place(place); again != place || err != nil {
			t.Errorf("%q: the place of its place %q is %q, %v", uri, place, again, err)
		}
		if from, to := mustParse(t, uri), mustParse(t, place); from.name != to.name || from.network != to.network {
			t.Errorf("%q: its place %q is another export", uri, place)
		}
	})
}
