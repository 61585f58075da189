//go:build unix

package main

import (
	"crypto/sha256"
	"io"
	"os"
	"strings"
	"testing"
)

// TestReadersHold has a restore stand still half-way: forget and prune leave its version alone and say who reads it, and when it goes
// on it has the disk.
func TestReadersHold(t *testing.T) {
	s := newSite(t)
	disk := s.disk("disk", 8<<20, 1, "random")
	s.must("backup", disk, "--name", "laptop")
	old := strings.TrimSpace(s.must("snapshots", "--json"))
	s.disk("disk", 8<<20, 2, "random")
	s.must("backup", disk, "--name", "laptop")

	restore := s.command("restore", "laptop~1", "-")
	restore.Stdout = nil
	out, err := restore.StdoutPipe()
	if err == nil {
		err = restore.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer restore.Process.Kill()
	sum := sha256.New()
	if _, err := io.CopyN(sum, out, 1<<20); err != nil {
		t.Fatal(err)
	}

	named := s.start(nil, "forget", "laptop~1")
	named.ends(11, "is being read by the restore that")
	policy := s.start(nil, "forget", "--keep-last", "1", "--prune", "--grace", "0s")
	policy.ends(3, "1 version kept because a command is reading")
	if !strings.Contains(policy.stdout.String(), "read by the restore that") {
		t.Errorf("it does not say why the version stays:\n%s", policy.stdout.String())
	}
	// A program that knows nothing of readers, or a hand:
	ids, err := os.ReadDir(s.path("repo/snapshots"))
	if err != nil || len(ids) != 2 {
		t.Fatal(ids, err)
	}
	for _, id := range ids {
		if strings.Contains(old, id.Name()) {
			if err := os.Remove(s.path("repo/snapshots/" + id.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.start(nil, "snapshots", "--accept").ends(0, "")
	prune := s.start(nil, "prune", "--grace", "0s", "--yes")
	prune.ends(0, "")
	if !strings.Contains(prune.stdout.String(), "when the restore that") {
		t.Errorf("prune does not wait for the reader:\n%s", prune.stdout.String())
	}

	if _, err := io.Copy(sum, out); err != nil {
		t.Fatal(err)
	}
	if code := restore.wait(); code != 0 {
		t.Fatalf("restore ended with %d: %s", code, restore.stderr.String())
	}
	if err := makeDisk(s.path("first"), 8<<20, 1, "random"); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(s.path("first"))
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(first); string(sum.Sum(nil)) != string(want[:]) {
		t.Error("what was restored is not the disk")
	}
	if s.must("prune", "--grace", "0s", "--yes"); len(s.must("snapshots", "-q")) == 0 {
		t.Error("all versions are missing")
	}
}
