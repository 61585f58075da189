package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"platter/pack"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// wordsOf lists what is to be forgotten, by the first digits of the IDs.
func wordsOf(p *snapshot.Retention) string {
	var out []string
	for _, id := range p.IDs() {
		out = append(out, id.String()[:5])
	}
	return strings.Join(out, " ")
}

func TestByName(t *testing.T) {
	all := snapshot.SampleSnapshots()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	unreadable := func(hex string) error {
		id, err := pack.ParseFileID(hex + strings.Repeat("0", 64-len(hex)))
		if err != nil {
			t.Fatal(err)
		}
		return &snapshot.Unreadable{id, pack.ErrDamaged}
	}
	bad := []error{unreadable("9999900001"), unreadable("feedbeef11"), unreadable("feedbeef12"), unreadable("abcd100000000"), unreadable("9999900002")}
	all = append(all, &snapshot.Snapshot{ID: pack.FileID{1}, Name: "99999000", Host: "z"})
	for _, test := range []struct {
		specs string
		want  string // what is forgotten, by disk
		err   error
	}{
		{specs: "web", want: "99999"},
		{specs: "web~1 web~2", want: "01234 abcd1"}, // both count before either is forgotten
		{specs: "web~1 0123 web~1", want: "01234"},
		{specs: "latest", want: "01000"},
		{specs: "abcd2 web cafe~0", want: "beef1 abcd2 99999"},
		{specs: "feedbeef11", want: "feedb"},
		{specs: "FEEDBEEF11 FeedBeef110 db", want: "feedb abcd2"},
		{specs: "feedbeef", err: snapshot.ErrAmbiguous},
		{specs: "feedbee", err: snapshot.ErrNotFound},
		{specs: "feed", want: "dead1"},                  // a name
		{specs: "99999000", err: snapshot.ErrAmbiguous}, // a name, and two files that cannot be read
		{specs: "9999900001", want: "99999"},            // one of the two
		{specs: "abcd1000", err: snapshot.ErrAmbiguous}, // one that can be read, and one that cannot
		{specs: "web nonsense", err: snapshot.ErrNotFound},
		{specs: "web abcd", err: snapshot.ErrAmbiguous},
		{specs: "web~3", err: snapshot.ErrNotFound},
	} {
		retention, err := snapshot.ByName(strings.Fields(test.specs), all, bad, now)
		if test.err != nil {
			if retention != nil || !errors.Is(err, test.err) {
				t.Errorf("%s: %v, want %v", test.specs, err, test.err)
			}
		} else if err != nil || wordsOf(retention) != test.want {
			t.Errorf("%s: %v, %v; want %s", test.specs, retention, err, test.want)
		}
	}
	if retention, err := snapshot.ByName([]string{"db"}, all, bad, now); err != nil || len(retention.Disks) != 1 || retention.Disks[0].Name != "db" {
		t.Errorf("the result has disks that lose no version: %+v, %v", retention, err)
	}
}

// TestDrastic counts versions. Letters are versions of one disk; capitals are forgotten; f and F are from the future.
func TestDrastic(t *testing.T) {
	for disk, want := range map[string]string{
		"v": "", "V": "1 of 1", "vV": "", "VV": "2 of 2", "vVV": "2 of 3", "vvVV": "", "vvVVV": "3 of 5", "vvvVV": "",
		"vVVff": "2 of 3", "vVff": "", "vF": "", "F": "1 of 1", "fF": "", "fFF": "2 of 3", "vFF": "2 of 3", "Vff": "1 of 1", "vvFF": "",
	} {
		v := snapshot.Versions{Name: "web", Host: "a"}
		for _, c := range disk {
			d := snapshot.Decision{Snapshot: new(snapshot.Snapshot), Future: c == 'f' || c == 'F'}
			if c == 'v' || c == 'f' {
				d.Reasons = append(d.Reasons, "said so")
			}
			v.Decisions = append(v.Decisions, d)
		}
		err := (&snapshot.Retention{Disks: []snapshot.Versions{v}}).Drastic()
		if want == "" && err != nil || want != "" && (!errors.Is(err, snapshot.ErrDrastic) || !strings.HasSuffix(err.Error(), want+" of web (host a)")) {
			t.Errorf("%s: %v, want %q", disk, err, want)
		}
	}
	if err := (&snapshot.Retention{Unreadable: []*snapshot.Unreadable{{pack.FileID{1}, pack.ErrDamaged}}}).Drastic(); !errors.Is(err, snapshot.ErrDrastic) {
		t.Errorf("one that cannot be read: %v", err)
	}
}

func TestKeepsNone(t *testing.T) {
	now := time.Date(2026, 1, 9, 0, 0, 0, 0, time.UTC)
	all := snapshot.Numbered(t, time.UTC, "2026-01-01 00:00", "2026-01-02 00:00", "2099-01-03 00:00", "2099-01-04 00:00")
	all[3].Name = "ahead" // its only version is from the future
	for _, test := range []struct {
		policy snapshot.Policy
		want   error
	}{{snapshot.Policy{Tags: []string{"x"}}, snapshot.ErrKeepsNone}, {snapshot.Policy{Last: 1}, nil}, {snapshot.Policy{}, nil}} {
		if err := snapshot.ByPolicy(test.policy, all, now, time.UTC).KeepsNone(); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, want %v", test.policy, err, test.want)
		} else if err != nil && !strings.HasSuffix(err.Error(), "of web (host a)") {
			t.Error(err)
		}
	}
}

// TestForgetKeepsTheOthers forgets versions and reads the others back. One of the forgotten versions is damaged.
func TestForgetKeepsTheOthers(t *testing.T) {
	ctx := context.Background()
	s := new(store.Mem)
	disks := map[string][]byte{}
	snapshottest.Repo(t, s)
	for i := range 5 {
		disk := bytes.Repeat([]byte{byte(i + 1)}, 1<<20)
		disks[backuptest.Keep(t, snapshottest.Reopen(t, s), image.Mem{Data: disk}).ID.String()] = disk
	}
	r := snapshottest.Reopen(t, s)
	ids, err := r.ListSnapshots(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "snapshots/"+ids[0].String(), []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	all, bad, err := snapshot.Load(ctx, r)
	if err != nil || len(all) != 4 || len(bad) != 1 || !errors.Is(bad[0], pack.ErrDamaged) {
		t.Fatalf("%d snapshots, %v, %v", len(all), bad, err)
	}
	retention, err := snapshot.ByName([]string{ids[0].String()[:8], "disk", "disk~2"}, all, bad, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := retention.Run(ctx, r); n != 3 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	left, bad, err := snapshot.Load(ctx, r)
	if err != nil || len(bad) > 0 || len(left) != 2 || left[0].ID != all[0].ID || left[1].ID != all[2].ID {
		t.Fatalf("left: %v, %v, %v", left, bad, err)
	}
	for _, v := range left {
		if !bytes.Equal(snapshottest.Contents(t, r, v), disks[v.ID.String()]) {
			t.Fatalf("%v is not what it was", v.ID)
		}
	}
}

// TestLoadWhileForgetting removes a snapshot's file after it was listed. Load omits it if a record says that it was
// forgotten; otherwise it is damage. A file that fails to be read once is loaded.
func TestLoadWhileForgetting(t *testing.T) {
	ctx := context.Background()
	for what, test := range map[string]struct {
		gone     func(mem *store.Mem, name string) error // what the first read of a snapshot finds
		always   bool
		all, bad int
	}{
		"not found once": {gone: func(*store.Mem, string) error { return fs.ErrNotExist }, all: 3},
		"fails once":     {gone: func(*store.Mem, string) error { return errOffline }, all: 3},
		"never found":    {gone: func(*store.Mem, string) error { return fs.ErrNotExist }, always: true, all: 2, bad: 1},
		"lost":           {gone: func(mem *store.Mem, name string) error { return mem.Delete(ctx, name) }, all: 2, bad: 1},
		"forgotten": {gone: func(mem *store.Mem, name string) error {
			id, err := pack.ParseFileID(strings.TrimPrefix(name, "snapshots/"))
			if err == nil {
				_, err = snapshottest.Reopen(t, mem).Forget(ctx, []pack.FileID{id})
			}
			return err
		}, all: 2},
	} {
		mem := new(store.Mem)
		snapshottest.Repo(t, mem)
		for i := range 3 {
			backuptest.Keep(t, snapshottest.Reopen(t, mem), image.Mem{Data: make([]byte, i+1)})
		}
		var first string
		var once sync.Once
		s := &storetest.Faulty{Store: mem, Fail: func(op, name string) (err error) {
			if op == "get" && strings.HasPrefix(name, "snapshots/") {
				once.Do(func() {
					first = name
					err = test.gone(mem, name)
				})
				if test.always && name == first {
					err = fs.ErrNotExist
				}
			}
			return err
		}}
		if all, bad, err := snapshot.Load(ctx, snapshottest.Reopen(t, s)); err != nil || len(all) != test.all || len(bad) != test.bad {
			t.Errorf("%s: %d snapshots, %v, %v", what, len(all), bad, err)
		}
	}
}

var errOffline = errors.New("no answer")
