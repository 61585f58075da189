package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

var commitTime = time.Unix(1_700_000_000, 0).UTC()

var listed = []file{
	{licenceName, 0o644, []byte("licence\n")},
	{"README.md", 0o644, []byte("read me\n")},
	{zshName, 0o644, []byte("#compdef platter\n")},
	{"docs/design.md", 0o644, []byte("design\n")},
	{"platter", 0o755, []byte("\x7fELF")},
	{manName, 0o644, []byte(".TH platter 1\n")},
}

// A time in an archive that is not the commit's would make two builds differ, though not if they were made in one second.
func TestArchivesHaveTheTimeOfTheCommit(t *testing.T) {
	data, err := tarGz("platter_1", listed, commitTime)
	if err != nil {
		t.Fatal(err)
	}
	checkTar(t, gunzip(t, data), map[string]fs.FileMode{
		"platter_1/LICENSE": 0o644, "platter_1/platter": 0o755, "platter_1/completions/_platter": 0o644, "platter_1/docs/design.md": 0o644,
	})

	data, err = zipped("platter_1", listed, commitTime)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.File) != len(listed) {
		t.Fatalf("zip has %d files, want %d", len(r.File), len(listed))
	}
	for i, f := range r.File {
		if !f.Modified.Equal(commitTime) {
			t.Errorf("%s has the time %v, want %v", f.Name, f.Modified, commitTime)
		}
		if want := "platter_1/" + listed[i].name; f.Name != want || f.Mode() != listed[i].mode {
			t.Errorf("zip has %s with mode %v, want %s with %v", f.Name, f.Mode(), want, listed[i].mode)
		}
	}
}

func TestPackages(t *testing.T) {
	out, src := t.TempDir(), &source{version: "v1.2.3-rc.1", time: commitTime}
	for _, p := range platforms {
		if p.os != "linux" {
			continue
		}
		if err := writePackages(out, t.TempDir(), src, p, listed); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"platter_1.2.3~rc.1_amd64.deb", "platter_1.2.3~rc.1_arm64.deb", "platter_1.2.3~rc.1_armhf.deb",
		"platter-1.2.3~rc.1-1.x86_64.rpm", "platter-1.2.3~rc.1-1.aarch64.rpm", "platter-1.2.3~rc.1-1.armv6hl.rpm",
	} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	for name, data := range arMembers(t, filepath.Join(out, "platter_1.2.3~rc.1_armhf.deb")) {
		switch name {
		case "control.tar.gz":
			checkTar(t, gunzip(t, data), map[string]fs.FileMode{"./control": 0o644, "./md5sums": 0o644})
		case "data.tar.gz":
			checkTar(t, gunzip(t, data), map[string]fs.FileMode{
				"./usr/bin/platter": 0o755, "./usr/share/man/man1/platter.1.gz": 0o644, "./usr/share/doc/platter/copyright": 0o644,
				"./usr/share/doc/platter/docs/design.md": 0o644, "./usr/share/zsh/vendor-completions/_platter": 0o644,
			})
		}
	}
}

// The same files make the same packages a second later, from another folder.
func TestPackagesAreReproducible(t *testing.T) {
	src := &source{version: "v1.2.3", time: commitTime}
	var built [2]map[string]string
	for i := range built {
		out := t.TempDir()
		if err := writePackages(out, t.TempDir(), src, platforms[0], listed); err != nil {
			t.Fatal(err)
		}
		built[i] = make(map[string]string)
		entries, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(out, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			built[i][e.Name()] = string(data)
		}
		if i == 0 {
			// Times in packages have a resolution of one second.
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
		}
	}
	if len(built[0]) != 2 {
		t.Errorf("built %d packages, want 2", len(built[0]))
	}
	for name, data := range built[0] {
		if built[1][name] != data {
			t.Errorf("%s differs", name)
		}
	}
}

func TestSBOM(t *testing.T) {
	info := &buildinfo.BuildInfo{
		GoVersion: "go1.26.0",
		Main:      debug.Module{Path: "platter", Version: "v1.2.3"},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.0.0", Sum: "h1:aaa="},
			{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0+incompatible"}},
		},
		Settings: []debug.BuildSetting{{Key: "GOARCH", Value: "arm64"}},
	}
	data, err := makeSBOM(info, []byte("program"), commitTime)
	if err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	var purls []string
	for _, c := range b.Components {
		purls = append(purls, c.PURL)
	}
	want := "pkg:golang/std@1.26.0 pkg:golang/example.com/a@v1.0.0 pkg:golang/example.com/c@v2.0.0%2Bincompatible"
	if got := strings.Join(purls, " "); got != want {
		t.Errorf("components\n%s, want\n%s", got, want)
	}
	if b.Metadata.Timestamp != "2023-11-14T22:13:20Z" || b.Metadata.Component.Version != "v1.2.3" {
		t.Errorf("metadata %+v", b.Metadata)
	}
	if !strings.Contains(string(data), `"h1:aaa="`) {
		t.Error("the hash of go.sum is missing")
	}
}

func TestEmptySparesOtherFolders(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := empty(dir); err == nil {
		t.Error("empty accepts a folder that holds no release")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Fatal(err)
	}
	if err := writeSums(dir); err != nil {
		t.Fatal(err)
	}
	if err := empty(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mine); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat of a file of the earlier release: %v, want that it does not exist", err)
	}
}

func TestLicencesAreRequired(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	for _, name := range []string{"LICENSE.md", "NOTICE", "license.go"} {
		if err := os.WriteFile(filepath.Join(with, name), []byte("text of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info := &buildinfo.BuildInfo{Deps: []*debug.Module{{Path: "golang.org/x/sys", Version: "v1.0.0"}}}
	text, err := licenceTexts(info, map[string]string{"golang.org/x/sys": with})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"LICENSE.md": true, "NOTICE": true, "license.go": false} {
		if got := bytes.Contains(text, []byte("text of "+name)); got != want {
			t.Errorf("text of %s included: %v, want %v", name, got, want)
		}
	}
	if _, err := licenceTexts(info, map[string]string{"golang.org/x/sys": without}); err == nil {
		t.Error("a module without a licence is accepted")
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]bool{
		"v1.2.3": true, "v0.1.0-rc.1": true, "1.2.3": false, "v1.2": false, "v01.2.3": false, "v1.2.3+meta": false, "v1.2.3/../x": false, "": false,
	} {
		if got := wantVersion.MatchString(version); got != want {
			t.Errorf("%q accepted: %v, want %v", version, got, want)
		}
	}
}

// checkTar checks the time, owner and mode of every entry, and that the wanted ones are there.
func checkTar(t *testing.T, data []byte, want map[string]fs.FileMode) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(commitTime) {
			t.Errorf("%s has the time %v, want %v", h.Name, h.ModTime, commitTime)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d:%d, want root", h.Name, h.Uid, h.Gid)
		}
		if mode, ok := want[h.Name]; ok {
			if h.FileInfo().Mode().Perm() != mode {
				t.Errorf("%s has mode %v, want %v", h.Name, h.FileInfo().Mode(), mode)
			}
			delete(want, h.Name)
		}
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
}

// arMembers returns the members of a .deb.
func arMembers(t *testing.T, name string) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := bytes.CutPrefix(data, []byte("!<arch>\n"))
	if !ok {
		t.Fatalf("%s is no ar archive", name)
	}
	members := make(map[string][]byte)
	for len(rest) >= 60 {
		header := string(rest[:60])
		if stamp := strings.TrimSpace(header[16:28]); stamp != "1700000000" {
			t.Errorf("member %s has the time %s", header[:16], stamp)
		}
		size := 0
		for _, c := range strings.TrimSpace(header[48:58]) {
			size = size*10 + int(c-'0')
		}
		members[strings.Trim(header[:16], " /")] = rest[60 : 60+size]
		rest = rest[min(60+size+size%2, len(rest)):]
	}
	if len(members) != 3 {
		t.Errorf("%s has %d members, want 3", name, len(members))
	}
	return members
}

func gunzip(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
