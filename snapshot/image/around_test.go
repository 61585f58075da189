package image

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A failing is a disk that fails when a read touches a bad sector. Some sectors recover.
type failing struct {
	Mem
	bad     map[int64]int // by sector number: how often the sector fails; -1 means always
	err     error
	failed  int
	waiting time.Duration // that a failed read takes
	clock   *time.Time
}

const sector = 512

func (d *failing) ReadAt(p []byte, off int64) (int, error) {
	failed := false
	for at := off / sector; at*sector < off+int64(len(p)); at++ {
		if d.bad[at] != 0 {
			d.bad[at] = max(d.bad[at]-1, -1)
			failed = true
		}
	}
	if !failed {
		return d.Mem.ReadAt(p, off)
	}
	d.failed++
	if d.clock != nil {
		*d.clock = d.clock.Add(d.waiting)
	}
	return 0, d.err
}

// newFailing returns a disk of size bytes of noise, without bad sectors.
func newFailing(size int) *failing {
	d := &failing{Mem: Mem{Data: make([]byte, size)}, bad: map[int64]int{}, err: mediumErrors[0]}
	Fill{Seed: uint64(size)}.read(d.Data, 0)
	return d
}

// hurt makes the sectors from byte off to byte end bad.
func (d *failing) hurt(off, end int64) {
	for at := off / sector; at*sector < end; at++ {
		d.bad[at] = -1
	}
}

// rescued reads a whole disk as a backup does: in runs of 1 MiB, and around failures.
func rescued(t testing.TB, p *Retrying) (data []byte, bad []Extent, err error) {
	t.Helper()
	const stretch = 1 << 20
	around := p.Around()
	data = bytes.Repeat([]byte{0xaa}, int(p.Size()))
	for off := 0; off < len(data); off += stretch {
		q := data[off:min(off+stretch, len(data))]
		if _, err := p.ReadAt(q, int64(off)); err == nil {
			continue
		} else if !IsMediaError(err) {
			return nil, nil, err
		}
		if bad, err = around.Read(t.Context(), q, int64(off), bad); err != nil {
			return nil, nil, err
		}
	}
	return data, bad, nil
}

func mustPatient(t testing.TB, disk Disk, known *RescueMap, o RetryOptions) *Retrying {
	t.Helper()
	p, err := NewRetrying(disk, known, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantRescued checks that data is the disk with zeros in the bad ranges, and that each range begins and ends in a bad
// sector.
func wantRescued(t *testing.T, d *failing, data []byte, bad []Extent) {
	t.Helper()
	want := bytes.Clone(d.Data)
	lost := map[int64]bool{}
	for _, e := range bad {
		clear(want[e.Off : e.Off+e.Len])
		for at := e.Off / sector; at*sector < e.Off+e.Len; at++ {
			lost[at] = true
		}
		if d.bad[e.Off/sector] == 0 || d.bad[(e.Off+e.Len-1)/sector] == 0 {
			t.Errorf("bytes %d to %d are lost, and its ends can be read", e.Off, e.Off+e.Len)
		}
	}
	if !bytes.Equal(data, want) {
		t.Error("what was read is not the disk")
	}
	for at := range d.bad {
		if d.bad[at] != 0 && !lost[at] {
			t.Errorf("sector %d cannot be read, and is not lost", at)
		}
	}
}

// TestAroundFindsEverySector uses short bad places: only their sectors are lost.
func TestAroundFindsEverySector(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		d := newFailing(3<<20 + rnd.IntN(5000))
		for range 1 + rnd.IntN(200) {
			off := rnd.Int64N(d.Size())
			d.hurt(off, min(off+rnd.Int64N(3000)*rnd.Int64N(2), d.Size()))
		}
		var want []Extent
		for at := int64(0); at*sector < d.Size(); at++ {
			if e := (Extent{Off: at * sector, Len: min(sector, d.Size()-at*sector)}); d.bad[at] == 0 {
				continue
			} else if last := len(want) - 1; last >= 0 && want[last].Off+want[last].Len == e.Off {
				want[last].Len += e.Len
			} else {
				want = append(want, e)
			}
		}
		want = slices.DeleteFunc(want, func(e Extent) bool { return e.Len >= longRun })
		data, bad, err := rescued(t, mustPatient(t, d, nil, RetryOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		bad = joinedTouching(bad)
		wantRescued(t, d, data, bad)
		if bad = slices.DeleteFunc(bad, func(e Extent) bool { return e.Len >= longRun }); !slices.Equal(bad, want) {
			t.Errorf("seed %d: %v are lost, want %v", seed, bad, want)
		}
	}
}

// joinedTouching joins adjacent extents from two reads.
func joinedTouching(all []Extent) (out []Extent) {
	for _, e := range all {
		if last := len(out) - 1; last >= 0 && out[last].Off+out[last].Len == e.Off {
			out[last].Len += e.Len
		} else {
			out = append(out, e)
		}
	}
	return out
}

// TestAroundAnyDamage uses bad places of any length, and not all their sectors are tried. All that counts as read is
// right, and both ends of each bad place are exact.
func TestAroundAnyDamage(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		d := newFailing(5<<20 + rnd.IntN(5000))
		for range 1 + rnd.IntN(12) {
			off := rnd.Int64N(d.Size())
			d.hurt(off, min(off+rnd.Int64N(1<<rnd.IntN(22)), d.Size()))
		}
		data, bad, err := rescued(t, mustPatient(t, d, nil, RetryOptions{}))
		if errors.Is(err, ErrDead) && len(d.bad) > 5000 {
			continue // all of the first MiB and all places that were tried were bad
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		wantRescued(t, d, data, joinedTouching(bad))
	}
}

// TestAroundCosts limits the number of failed reads: each may take seconds.
func TestAroundCosts(t *testing.T) {
	for what, test := range map[string]struct {
		from, to int64
		most     int
	}{
		"one sector":           {100_000, 100_001, 5},
		"a sector of 4 KiB":    {1 << 20, 1<<20 + 4096, 12},
		"100 KiB":              {1 << 20, 1<<20 + 100<<10, 32},
		"a dead area of 8 MiB": {5 << 20, 13 << 20, 50},
		"its ends within":      {5<<20 - 7*sector, 13<<20 + 7*sector, 60},
	} {
		d := newFailing(16 << 20)
		d.hurt(test.from, test.to)
		data, bad, err := rescued(t, mustPatient(t, d, nil, RetryOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		wantRescued(t, d, data, joinedTouching(bad))
		t.Logf("%s: %d reads failed", what, d.failed)
		if d.failed > test.most {
			t.Errorf("%s: %d reads failed, want at most %d", what, d.failed, test.most)
		}
	}
}

// TestAroundTransient uses sectors that fail exactly four times.
func TestAroundTransient(t *testing.T) {
	d := newFailing(2 << 20)
	for _, at := range []int64{0, 777, 4095} {
		d.bad[at] = 4
	}
	data, bad, err := rescued(t, mustPatient(t, d, nil, RetryOptions{}))
	if err != nil || len(bad) > 0 || !bytes.Equal(data, d.Data) {
		t.Errorf("%v, %v, or another disk", bad, err)
	}
}

// TestAroundEnds uses failures other than bad sectors.
func TestAroundEnds(t *testing.T) {
	d := newFailing(4 << 20)
	d.hurt(1<<20, 1<<20+1)
	p := mustPatient(t, d, nil, RetryOptions{Strict: true})
	if _, _, err := rescued(t, p); !errors.Is(err, mediumErrors[0]) || !strings.Contains(err.Error(), "read at 1048576: ") {
		t.Errorf("strict: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("no time")
	cancel(cause)
	if _, err := p.Around().Read(ctx, make([]byte, 4096), 0, nil); !errors.Is(err, cause) {
		t.Errorf("cancelled: %v", err)
	}
	d.err = fs.ErrPermission
	if _, err := mustPatient(t, d, nil, RetryOptions{}).Around().Read(t.Context(), make([]byte, 4096), 1<<20, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("not allowed: %v", err)
	}

	d.err = mediumErrors[0]
	d.hurt(1<<20, 4<<20)
	p = mustPatient(t, d, nil, RetryOptions{})
	p.ReadAt(make([]byte, 4096), 0)
	d.hurt(0, 4<<20) // as if unplugged
	if _, err := p.Around().Read(t.Context(), make([]byte, 1<<20), 1<<20, nil); !errors.Is(err, ErrUnresponsive) {
		t.Errorf("gone: %v", err)
	}
	if _, _, err := rescued(t, mustPatient(t, d, nil, RetryOptions{})); !errors.Is(err, ErrDead) {
		t.Errorf("dead: %v", err)
	}
}

// TestPatienceEnds uses a slow disk: after Longest, each bad sector costs its neighbours too.
func TestPatienceEnds(t *testing.T) {
	d := newFailing(4 << 20)
	for at := int64(0); at < d.Size(); at += 256 << 10 {
		d.hurt(at+100, at+101)
	}
	clock := time.Unix(0, 0)
	d.clock, d.waiting = &clock, 10*time.Second
	p := mustPatient(t, d, nil, RetryOptions{Longest: 3 * time.Minute})
	p.now = func() time.Time { return clock }
	_, bad, err := rescued(t, p)
	if err != nil || !p.GaveUp() || bad[0].Len != sector || bad[len(bad)-1].Len != largePiece || len(bad) != 16 {
		t.Errorf("%v, %v", bad, err)
	}
}
