package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/errgroup"

	"platter/snapshot/image"
)

// stamped returns a sector that says where it is, which write it is of, and nothing else.
func stamped(s int64, number uint64) []byte {
	p := make([]byte, sector)
	for at := 0; at < sector; at += 16 {
		binary.LittleEndian.PutUint64(p[at:], uint64(s))
		binary.LittleEndian.PutUint64(p[at+8:], number)
	}
	return p
}

// TestConcurrent has goroutines write, zero, sync and read at once. Each writer has sectors of its own, which it shares
// blocks with the others for. Every read sees sectors that somebody wrote there, never those of another place. A writer
// sees what it wrote last.
func TestConcurrent(t *testing.T) {
	const writers, sectors = 4, 8 * 40
	data := make([]byte, sectors*sector)
	for s := range int64(sectors) {
		copy(data[s*sector:], stamped(s, 1<<40))
	}
	base := image.Mem{Data: data}
	f := &memFile{}
	d, err := create(f, base, Binding{}, 4)
	must(t, err)
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	var last [sectors]atomic.Uint64 // number of the last completed write; 0 for zeros
	for s := range last {
		last[s].Store(1 << 40)
	}
	var g, readers errgroup.Group
	stop := make(chan struct{})
	for w := range int64(writers) {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(uint64(w), 11))
			for i := range rounds {
				s := rng.Int64N(sectors/writers)*writers + w
				if err := writeOne(d, rng, s, uint64(i)+1, &last[s]); err != nil {
					return err
				}
				if i%16 == 0 {
					if err := d.Sync(); err != nil {
						return err
					}
				}
			}
			return nil
		})
		readers.Go(func() error {
			rng := rand.New(rand.NewPCG(uint64(w), 12))
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := readSome(d, rng.Int64N(sectors), 1+rng.Int64N(20)); err != nil {
					return err
				}
			}
		})
	}
	must(t, g.Wait())
	close(stop)
	must(t, readers.Wait())
	must(t, d.Sync())
	d, err = open(f.lose(lost, nil), base, Binding{})
	must(t, err)
	for s := range last {
		if err := wantSector(d, int64(s), last[s].Load()); err != nil {
			t.Fatalf("after a power cut: %v", err)
		}
	}
}

// writeOne writes or zeroes a sector, and reads it.
func writeOne(d *Disk, rng *rand.Rand, s int64, number uint64, last *atomic.Uint64) error {
	var err error
	switch rng.IntN(4) {
	case 0:
		number = 0
		err = d.Zero(s*sector, sector)
	default:
		_, err = d.WriteAt(stamped(s, number), s*sector)
	}
	if err != nil {
		return err
	}
	last.Store(number)
	return wantSector(d, s, number)
}

func wantSector(d *Disk, s int64, number uint64) error {
	got := make([]byte, sector)
	if _, err := d.ReadAt(got, s*sector); err != nil {
		return err
	}
	want := make([]byte, sector)
	if number > 0 {
		want = stamped(s, number)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("sector %d is % x…, want % x…", s, got[:16], want[:16])
	}
	return nil
}

// readSome reads sectors and checks that each is one of its place.
func readSome(d *Disk, s, n int64) error {
	p := make([]byte, n*sector)
	got, _ := d.ReadAt(p, s*sector)
	for p = p[:got/sector*sector]; len(p) > 0; p, s = p[sector:], s+1 {
		if !bytes.Equal(p[:16], make([]byte, 16)) && binary.LittleEndian.Uint64(p) != uint64(s) {
			return fmt.Errorf("sector %d has bytes of sector %d", s, binary.LittleEndian.Uint64(p))
		}
	}
	return nil
}

// TestReuse has readers read one block while others are zeroed, synced and written again, so that units wander.
func TestReuse(t *testing.T) {
	const blocks = 8
	for name, makeDisk := range map[string]func() (*Disk, error){
		"durable":   func() (*Disk, error) { return create(&memFile{}, image.Sparse{Bytes: blocks * unit}, Binding{}, 16) },
		"temporary": func() (*Disk, error) { return temporary(&memFile{}, image.Sparse{Bytes: blocks * unit}) },
	} {
		t.Run(name, func(t *testing.T) {
			d, err := makeDisk()
			must(t, err)
			var readers, writers errgroup.Group
			stop := make(chan struct{})
			for r := range 4 {
				readers.Go(func() error {
					for i := r; ; i++ {
						select {
						case <-stop:
							return nil
						default:
						}
						if err := readSome(d, int64(i%blocks)*unit/sector, unit/sector); err != nil {
							return err
						}
					}
				})
			}
			for w := range int64(2) {
				writers.Go(func() error {
					for i := range int64(60) {
						block := i*2%blocks + w
						var p []byte
						for s := range int64(unit / sector) {
							p = append(p, stamped(block*unit/sector+s, uint64(i))...)
						}
						if _, err := d.WriteAt(p, block*unit); err != nil {
							return err
						}
						if err := d.Zero(block*unit, unit); err != nil {
							return err
						}
						if err := d.Sync(); err != nil {
							return err
						}
					}
					return nil
				})
			}
			must(t, writers.Wait())
			close(stop)
			must(t, readers.Wait())
		})
	}
}

// TestFillOnce has many calls change parts of one block: it is read from the base once. Calls for other blocks do not
// wait for a slow base.
func TestFillOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &slowBase{Sparse: image.Sparse{Bytes: 10 * unit, Fills: []image.Fill{{Len: 10 * unit, Seed: 1}}}, let: make(chan struct{})}
		d, err := create(&memFile{}, base, Binding{}, 4)
		must(t, err)
		_, err = d.WriteAt(make([]byte, unit), 5*unit)
		must(t, err)
		var g errgroup.Group
		for s := range int64(unit / sector) {
			g.Go(func() error {
				if s%2 == 0 {
					return d.Zero(s*sector, sector)
				}
				_, err := d.WriteAt(stamped(s, 1), s*sector)
				return err
			})
		}
		synctest.Wait() // one of them fills the block
		if n := base.reads.Load(); n != 1 {
			t.Errorf("the base was read %d times", n)
		}
		got := make([]byte, unit)
		_, err = d.ReadAt(got, 5*unit)
		must(t, err)
		_, err = d.WriteAt(got, 6*unit)
		must(t, err)
		must(t, d.Sync())
		close(base.let)
		must(t, g.Wait())
		if n := base.reads.Load(); n != 1 {
			t.Errorf("the base was read %d times", n)
		}
		for s := range int64(unit / sector) {
			must(t, wantSector(d, s, uint64(s%2)))
		}
	})
}

// TestReaderKeepsUnit zeroes a block while it is being read. Its unit is not reused before the read ends.
func TestReaderKeepsUnit(t *testing.T) {
	f := &gatedFile{gate: make(chan struct{}), reading: make(chan struct{}), punched: make(chan struct{}, 10)}
	d, err := temporary(f, image.Sparse{Bytes: 10 * unit})
	must(t, err)
	_, err = d.WriteAt(make([]byte, unit), 0)
	must(t, err)
	var g errgroup.Group
	g.Go(func() error {
		_, err := d.ReadAt(make([]byte, unit), 0)
		return err
	})
	<-f.reading
	g.Go(func() error { return d.Zero(0, unit) })
	<-f.punched // it is about to release the unit
	for range 1000 {
		runtime.Gosched()
	}
	d.mu.RLock()
	if n := d.units.free.count(); n > 0 {
		t.Error("a unit is free while it is being read")
	}
	d.mu.RUnlock()
	close(f.gate)
	must(t, g.Wait())
	if n := d.units.free.count(); n != 1 {
		t.Errorf("%d runs of units are free at the end", n)
	}
}

// gatedFile says that a read has begun, and lets it go on when the gate is closed.
type gatedFile struct {
	memFile
	gate, reading, punched chan struct{}
}

func (f *gatedFile) ReadAt(p []byte, off int64) (int, error) {
	close(f.reading)
	<-f.gate
	return f.memFile.ReadAt(p, off)
}

func (f *gatedFile) Punch(off, n int64) {
	f.memFile.Punch(off, n)
	f.punched <- struct{}{}
}

// slowBase answers reads only after let is closed.
type slowBase struct {
	image.Sparse
	let   chan struct{}
	reads atomic.Int64
}

func (b *slowBase) ReadAt(p []byte, off int64) (int, error) {
	b.reads.Add(1)
	<-b.let
	return b.Sparse.ReadAt(p, off)
}
