package snapshot_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/snapshottest"
)

// TestReadPart has a version whose record differs from its disk. The disk's own table is used if it can be read.
func TestReadPart(t *testing.T) {
	mem := new(store.Mem)
	disk := partitioned(snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 1)), 8<<20))
	kept := backuptest.Keep(t, snapshottest.Repo(t, mem), image.Mem{Data: disk})
	r := snapshottest.Reopen(t, mem)
	right := snapshot.Part{1 << 20, 2 << 20, "p1"}
	for name, c := range map[string]struct {
		change  func(s *snapshot.Snapshot)
		want    snapshot.Part
		warning string
		err     string
	}{
		"the same":                {func(*snapshot.Snapshot) {}, right, "", ""},
		"no record":               {func(s *snapshot.Snapshot) { s.Anatomy = nil }, right, "", ""},
		"another place":           {func(s *snapshot.Snapshot) { s.Anatomy.Partitions[0].Off = 512 }, right, "but the version's record says 2097152 bytes from byte 512 on", ""},
		"another length":          {func(s *snapshot.Snapshot) { s.Anatomy.Partitions[0].Len = 512 }, right, "512 bytes from byte 1048576 on", ""},
		"not in the record":       {func(s *snapshot.Snapshot) { s.Anatomy.Partitions = nil }, right, "the version's record has no such partition", ""},
		"only in the record":      {func(s *snapshot.Snapshot) { s.Anatomy.Partitions[0].Number = 9 }, snapshot.Part{}, "", "no such partition"},
		"bytes lost":              {func(s *snapshot.Snapshot) { s.Unreadable = 1; s.Anatomy.Partitions[0].Len = 512 }, snapshot.Part{1 << 20, 512, "p1"}, "", ""},
		"a map that is not there": {func(s *snapshot.Snapshot) { s.Root[0] ^= 1; s.Anatomy.Partitions[0].Len = 512 }, snapshot.Part{1 << 20, 512, "p1"}, "", ""},
	} {
		s := *kept
		found := *kept.Anatomy
		found.Partitions = append([]anatomy.Partition(nil), kept.Anatomy.Partitions...)
		s.Anatomy = &found
		c.change(&s)
		spec := s.Name + ":p1"
		if c.err != "" {
			spec = s.Name + ":p9"
		}
		named, err := snapshot.ReadPart(t.Context(), r, []*snapshot.Snapshot{&s}, spec, time.Now())
		part, warning := named.Part, named.Warning
		if part != c.want || (warning != "") != (c.warning != "") || !strings.Contains(warning, c.warning) || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, warning %q, %v", name, part, warning, err)
		}
	}
}

// TestDoubtfulPart checks that a partition of unknown position is refused.
func TestDoubtfulPart(t *testing.T) {
	mem := new(store.Mem)
	disk := snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 1)), 8<<20)
	clear(disk[:512])
	copy(disk[446:], []byte{0, 0, 0, 0, 0x83})
	binary.LittleEndian.PutUint32(disk[446+8:], 256)
	binary.LittleEndian.PutUint32(disk[446+12:], 256)
	disk[510], disk[511] = 0x55, 0xaa
	r := snapshottest.Repo(t, mem)
	s := backuptest.Keep(t, r, image.Mem{Data: bytes.Clone(disk)})
	if found, err := snapshot.ReadPart(t.Context(), r, []*snapshot.Snapshot{s}, s.Name+":p1", time.Now()); !errors.Is(err, snapshot.ErrDoubtful) {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err := snapshot.ReadPart(t.Context(), r, []*snapshot.Snapshot{s}, s.Name, time.Now()); err != nil || found.Part != s.Whole() {
		t.Errorf("all of it: %+v, %v", found, err)
	}
}
