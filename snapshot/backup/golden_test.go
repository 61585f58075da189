package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"platter/pack"
	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/image"
)

// makeGolden makes missing golden repositories in the current format. It never remakes an existing one, which
// represents all repositories in use.
var makeGolden = flag.Bool("make-golden", false, "make the folders in testdata that are missing")

// golden has a repository of every kind ever written, by folder, and the disks that it was made of.
var golden = map[string]func() []image.Disk{
	"testdata/golden-v1":         goldenDisks, // the first format
	"testdata/golden-v1-targets": codeDisks,   // frames of encoding 2
	workedIn:                     goldenDisks, // parity, and the files of an interrupted process and of a forget
	tested:                       codeDisks,   // the result of a test
}

// workedIn has a lease, a deletion marker and a record, which check reports once they are old.
const workedIn = "testdata/golden-v1-leases"

// tested has a verdict on its snapshot.
const tested = "testdata/golden-v1-verdicts"

// codeDisks hold data that resembles machine code.
func codeDisks() []image.Disk {
	code := make([]byte, 0, 600_000)
	for i := 0; len(code) < cap(code)-8; i++ {
		code = binary.LittleEndian.AppendUint32(append(code, 0x48, 0x8B, byte(i*i>>3), 0xE8+byte(i&1)), uint32(i%37*1000-len(code)))
	}
	return []image.Disk{image.Mem{Data: code, Holes: true}}
}

func goldenDisks() []image.Disk {
	text := bytes.Repeat([]byte("platter keeps every version of a disk. "), 4000)
	first := make([]byte, 700_001)
	copy(first[4096:], text)
	copy(first[300_000:], text[:99_999])
	second := bytes.Clone(first)
	copy(second[200_000:], "and gives any version back byte for byte")
	return []image.Disk{
		image.Mem{Data: first, Holes: true},
		image.Mem{Data: second, Holes: true},
		image.Sparse{Bytes: 3<<40 + 5, Fills: []image.Fill{
			{Off: 70 << 20, Len: 100_000, Seed: 1}, {Off: 3<<40 - 10, Len: 15, Seed: 2},
		}},
		image.Mem{},
		image.Mem{Data: make([]byte, 100_000)},
	}
}

// A goldenSnapshot describes a snapshot in testdata.
type goldenSnapshot struct {
	ID     string `json:"id"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // of each data extent, in order
}

func TestGoldenRepositoriesOpenForever(t *testing.T) {
	for folder, disks := range golden {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			if _, err := os.Stat(folder); *makeGolden && errors.Is(err, fs.ErrNotExist) {
				writeGolden(t, folder, disks())
			}
			wantGolden(t, folder)
		})
	}
}

func wantGolden(t *testing.T, folder string) {
	t.Helper()
	var want []goldenSnapshot
	data, err := os.ReadFile(folder + ".json")
	if err == nil {
		err = json.Unmarshal(data, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, password := range []string{"golden", "zwei Wörter"} {
		r, err := repo.Open(ctx, storetest.OpenLocal(t, folder, nil), []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		snapshots, bad, err := snapshot.Load(ctx, r)
		if err != nil || len(bad) > 0 || len(snapshots) != len(want) {
			t.Fatalf("%d snapshots, %v, %v", len(snapshots), bad, err)
		}
		report, err := r.Check(ctx, repo.CheckOptions{ReadPacks: true, ReadData: true}, nil)
		if err != nil || len(report.Damage) > 0 || len(report.Notes) > 0 && folder != workedIn {
			t.Fatalf("check: %+v, %v", report, err)
		}
		verdicts, bad, err := r.Verdicts(ctx)
		if err != nil || len(bad) > 0 || (len(verdicts) == 1) != (folder == tested) {
			t.Fatalf("%d verdicts, %v, %v", len(verdicts), bad, err)
		}
		for _, v := range verdicts {
			if v.Snapshot != snapshots[0].ID || v.Test != repo.BootTest || !v.Passed || v.Reason != "a login prompt" || v.Seconds != 4.5 {
				t.Errorf("the verdict is %+v", v)
			}
		}
		for _, w := range want {
			s, _, err := snapshot.Find(snapshots, w.ID, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			disk, err := s.Open(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			if got := hashData(t, disk); got != w.SHA256 || s.Size != w.Size {
				t.Errorf("%s: %d bytes, hash %s; want %+v", s.Name, s.Size, got, w)
			}
		}
	}
}

// hashData hashes the offsets and bytes of a disk's data, so that huge holes cost no time. It leaves out zeros at the
// ends of an extent: where data ends and a hole begins is no property of a disk.
func hashData(t *testing.T, disk image.Disk) string {
	t.Helper()
	sum := sha256.New()
	for e, err := range disk.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		for off := e.Off / 4096 * 4096; !e.Zero && off < e.Off+e.Len; off += 4096 {
			block := make([]byte, min(4096, disk.Size()-off))
			if _, err := disk.ReadAt(block, off); err != nil {
				t.Fatal(err)
			}
			if place := []byte{byte(off >> 40), byte(off >> 32), byte(off >> 24), byte(off >> 16), byte(off >> 8)}; !bytes.Equal(block, make([]byte, len(block))) {
				sum.Write(place)
				sum.Write(block)
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func writeGolden(t *testing.T, folder string, disks []image.Disk) {
	t.Helper()
	ctx := context.Background()
	settings := repo.DefaultSettings
	settings.PackSize = repo.MinPackSize
	if folder == workedIn {
		settings.Parity = 30
	}
	cost := crypt.Cost{Time: 1, Memory: 256, Lanes: 2}
	r, err := repo.Init(ctx, storetest.OpenLocal(t, folder, nil), []byte("golden"), cost, "first", settings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.AddSlot(ctx, []byte("zwei Wo\u0308rter"), cost, "second"); err != nil {
		t.Fatal(err)
	}
	var list []goldenSnapshot
	for i, disk := range disks {
		s := &snapshot.Snapshot{Name: filepath.Join("golden", string(rune('a'+i))), Host: "host", Tags: []string{"x"}, Note: "never rewritten"}
		if err := Disk(ctx, r, disk, nil, s, nil); err != nil {
			t.Fatal(err)
		}
		list = append(list, goldenSnapshot{s.ID.String(), s.Size, hashData(t, disk)})
	}
	if folder == workedIn {
		leaveBehind(t, folder, r)
	}
	if folder == tested {
		id, err := pack.ParseFileID(list[0].ID)
		if err == nil {
			err = r.PutVerdict(ctx, repo.Verdict{Snapshot: id, Test: repo.BootTest, Passed: true, Reason: "a login prompt", Seconds: 4.5})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		err = os.WriteFile(folder+".json", append(data, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// leaveBehind forgets a version while a process holds a lease and then dies. It leaves a record, a lease, and a
// deletion marker that waits for the lease.
func leaveBehind(t *testing.T, folder string, r *repo.Repo) {
	t.Helper()
	ctx := context.Background()
	s := &snapshot.Snapshot{Name: "forgotten", Host: "host"}
	if err := Disk(ctx, r, image.Mem{Data: bytes.Repeat([]byte("forgotten "), 30_000)}, nil, s, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Forget(ctx, []pack.FileID{s.ID}); err != nil {
		t.Fatal(err)
	}
	kept := t.TempDir()
	err := r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error {
		other, err := repo.Open(ctx, storetest.OpenLocal(t, folder, nil), []byte("golden"))
		if err != nil {
			return err
		}
		_, err = other.Prune(ctx, repo.PruneOptions{}, func(ctx context.Context, ids []pack.FileID, m *repo.Marks) error {
			return snapshot.Mark(ctx, other, ids, m)
		}, nil)
		return errors.Join(err, os.CopyFS(kept, os.DirFS(filepath.Join(folder, "work"))))
	})
	if err == nil {
		err = os.RemoveAll(filepath.Join(folder, "work"))
	}
	if err == nil {
		err = os.CopyFS(filepath.Join(folder, "work"), os.DirFS(kept))
	}
	if err != nil {
		t.Fatal(err)
	}
}
