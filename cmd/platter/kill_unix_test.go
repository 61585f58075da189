//go:build unix

package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"platter/repo"
	"platter/repo/store/storetest"
	"platter/snapshot"
)

// A killing is a repository that is used for many rounds, in most of which the program is killed.
type killing struct {
	*site
	rnd    *rand.Rand
	disks  [2][]byte           // as they are now
	states map[string][32]byte // sums of disks, by the tag of the round in which each was to be kept
	kept   map[string]string   // snapshots that must be there, and their tags: their backups reported success
	took   map[string]time.Duration
	killed map[string]int
}

// TestKilled kills backups, prunes, forgets and repairs at random moments, on a real file system, and goes on with the same
// repository. After each kill all snapshots are what they were made of, those are there that were reported, check finds
// nothing but notes, and the next command works.
//
// PLATTER_TORTURE=1 makes it ten times as long. The rounds follow from a seed; where in their work processes die does not.
func TestKilled(t *testing.T) {
	rounds := int(shorter(200, 20))
	if os.Getenv("PLATTER_TORTURE") != "" {
		rounds = 2000
	}
	k := &killing{
		site: newSite(t), rnd: rand.New(rand.NewPCG(1, 1)), states: map[string][32]byte{}, kept: map[string]string{},
		took: map[string]time.Duration{}, killed: map[string]int{},
	}
	for i := range k.disks {
		k.disks[i] = make([]byte, (2+i)<<20)
		k.change(i, 0, len(k.disks[i]))
	}
	for n := range rounds {
		what, args, tag := k.choose(n)
		var reported string
		if kill := n >= 8 && n%6 != 0; kill { // until then it learns how long things take
			reported = k.kill(what, args)
		} else {
			start := time.Now()
			reported = strings.TrimSpace(k.must(args...))
			k.took[what] = time.Since(start)
		}
		if what == "backup" && reported != "" {
			k.kept[reported] = tag
		}
		k.whole(n)
		if t.Failed() {
			t.Fatalf("in round %d, after %q", n, args)
		}
	}
	t.Logf("%d rounds; killed %v", rounds, k.killed)
	if total := k.killed["backup"] + k.killed["prune"]; total < rounds/5 {
		t.Errorf("%d were killed in time", total)
	}
	k.sound()
}

// choose decides what to do in a round, and makes the disk for it.
func (k *killing) choose(round int) (what string, args []string, tag string) {
	ids := k.oldest()
	switch n := k.rnd.IntN(10); {
	case n < 5 || round < 4:
		i := k.rnd.IntN(len(k.disks))
		k.change(i, k.rnd.IntN(len(k.disks[i])), k.rnd.IntN(1<<20))
		tag = fmt.Sprintf("round-%d", round)
		k.states[tag] = sha256.Sum256(k.disks[i])
		return "backup", []string{"backup", k.path(fmt.Sprint("disk", i)), "--name", fmt.Sprint("disk", i), "--tag", tag, "-q"}, tag
	case n == 5:
		return "repair", []string{"repair", "index"}, ""
	case n == 6 && len(ids) > 2:
		k.forgotten(ids[:1])
		return "forget", []string{"forget", ids[0], "--yes", "--prune"}, ""
	}
	if n := len(ids) - 3; n > 0 {
		k.forgotten(ids[:n])
		k.must(append([]string{"forget", "--yes"}, ids[:n]...)...)
	}
	return "prune", []string{"prune", "--max-unused", "0"}, ""
}

// oldest are the snapshots that must be there, oldest first.
func (k *killing) oldest() (ids []string) {
	for _, s := range k.snapshots() {
		if k.kept[s.ID] != "" {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func (k *killing) forgotten(ids []string) {
	for _, id := range ids {
		delete(k.kept, id)
	}
}

// change writes random bytes over a part of a disk.
func (k *killing) change(i, off, n int) {
	var seed [32]byte
	for at := range seed {
		seed[at] = byte(k.rnd.IntN(256))
	}
	part := k.disks[i][off:min(off+n, len(k.disks[i]))]
	if _, err := rand.NewChaCha8(seed).Read(part); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(k.path(fmt.Sprint("disk", i)), k.disks[i], 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// kill starts the program and kills it at a moment up to the end of the time it takes, or a little later. It returns what
// was printed by one that was faster.
func (k *killing) kill(what string, args []string) string {
	k.t.Helper()
	p := k.start(nil, args...)
	moment := time.Duration(k.rnd.Int64N(int64(k.took[what])*11/10 + int64(20*time.Millisecond)))
	timer := time.AfterFunc(moment, func() { _ = p.Process.Kill() }) // it may have ended
	defer timer.Stop()
	switch code := p.wait(); code {
	case -1:
		k.killed[what]++
		return ""
	case 0:
		return strings.TrimSpace(p.stdout.String())
	default:
		k.t.Fatalf("%v ended with %d and said\n%s", args, code, p.stderr.String())
		return ""
	}
}

// whole holds that all is well: by the program, which restores one snapshot, and by its own code, which reads all of them.
func (k *killing) whole(round int) {
	k.t.Helper()
	check := []string{"check"}
	if round%5 == 0 {
		check = append(check, "--read-data")
	}
	k.must(check...)
	r, err := repo.Open(k.t.Context(), storetest.OpenLocal(k.t, k.repo, nil), []byte("secret"))
	if err != nil {
		k.t.Fatal(err)
	}
	all, bad, err := snapshot.Load(k.t.Context(), r)
	if err == nil {
		err = r.LoadIndex(k.t.Context())
	}
	if err != nil || len(bad) > 0 {
		k.t.Fatal(err, bad)
	}
	there := map[string]bool{}
	for _, s := range all {
		there[s.ID.String()] = true
		disk, err := s.Open(k.t.Context(), r)
		if err != nil {
			k.t.Fatal(err)
		}
		data := make([]byte, disk.Size())
		if _, err := disk.ReadAt(data, 0); err != nil || sha256.Sum256(data) != k.states[s.Tags[0]] {
			k.t.Errorf("%.8v of %v is another disk, or none: %v", s.ID, s.Tags, err)
		}
	}
	for id, tag := range k.kept {
		if !there[id] {
			k.t.Errorf("%s of %s was reported and is not there", id, tag)
		}
	}
	if len(all) > 0 {
		s := all[k.rnd.IntN(len(all))]
		data := []byte(k.must("restore", s.ID.String(), "-", "-q"))
		if sha256.Sum256(data) != k.states[s.Tags[0]] {
			k.t.Errorf("%.8v of %v is restored as something else", s.ID, s.Tags)
		}
	}
}
