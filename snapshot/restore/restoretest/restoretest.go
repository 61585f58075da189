// Package restoretest restores disks for tests of what is done with snapshots.
package restoretest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/restore"
)

// File restores a snapshot's disk to a file, verifies it, and returns the file's bytes.
func File(t testing.TB, r *repo.Repo, s *snapshot.Snapshot) []byte {
	t.Helper()
	target := filepath.Join(t.TempDir(), "out")
	if _, err := restore.ToFile(context.Background(), r, s, s.Whole(), target, restore.Options{Verify: true}, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Stream restores a snapshot's disk to a stream, and returns its bytes.
func Stream(t testing.TB, r *repo.Repo, s *snapshot.Snapshot) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := restore.ToStream(context.Background(), r, s, s.Whole(), &out, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
