package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingShows checks that the files on the NAS reveal neither the name of a disk nor its content.
func TestNothingShows(t *testing.T) {
	s := newSite(t)
	const content = "64 bytes that stand on the disk, and nowhere on the NAS: 8c1f03d"
	disk := s.disk("payroll-disk.img", 3<<20, 1, "mixed")
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 100_000, 2 << 20} {
		if _, err := f.WriteAt([]byte(strings.Repeat(content, 1000)), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	secrets := []string{content, content[:16], "payroll", "accounts-vm", "vault-host", "before-audit", "quarter-end-note", s.dir, "secret"}
	s.must("backup", disk, "--name", "accounts-vm", "--host", "vault-host", "--tag", "before-audit", "--note", "quarter-end-note")
	add := s.command(append([]string{"key", "add", "--label", "label-of-boss"}, cheapKDF...)...)
	add.Env = append(add.Env, "PLATTER_NEW_PASSWORD=another-one")
	if err := add.Run(); err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, "label-of-boss", "another-one")

	var names, bytesOfAll bytes.Buffer
	files := 0
	err = filepath.WalkDir(s.repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		bytesOfAll.Write(data)
		names.WriteString(strings.TrimPrefix(path, s.repo) + "\n")
		return err
	})
	if err != nil || files < 5 {
		t.Fatalf("%d files, %v", files, err)
	}
	onDisk, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	output := s.must("snapshots", "--json") + s.must("key", "list", "--json") + string(onDisk) + "another-one secret"
	for _, secret := range secrets {
		if !strings.Contains(output, secret) {
			t.Errorf("%q was never given, so its absence proves nothing", secret)
		}
		if bytes.Contains(bytesOfAll.Bytes(), []byte(secret)) || strings.Contains(names.String(), secret) {
			t.Errorf("%q shows on the NAS", secret)
		}
	}
}
