package overlay

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
)

// A memFile is a file in memory that knows what is durable. lose returns what a power cut leaves of it.
//
// It calls fail before each call that changes something, with its number from 0, and takes its error for the call's. A
// write that fails writes the first half. It calls then after each such call. Set both before use.
type memFile struct {
	fail func(call int, what string) error
	then func()

	mu      sync.Mutex
	data    []byte
	durable []byte
	unsure  map[int][][]byte // by number of the sector: what was written there since the last sync, the oldest first
	calls   int
}

func (f *memFile) change(what string, do func(err error)) (err error) {
	f.mu.Lock()
	if f.fail != nil {
		err = f.fail(f.calls, what)
	}
	f.calls++
	do(err)
	f.mu.Unlock()
	if f.then != nil {
		f.then()
	}
	return err
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.change("write", func(err error) {
		n = len(p)
		if err != nil {
			n /= 2
		}
		f.write(p[:n], off)
	})
	return n, err
}

func (f *memFile) write(p []byte, off int64) {
	if end := off + int64(len(p)); end > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, end-int64(len(f.data)))...)
	}
	copy(f.data[off:], p)
	if f.unsure == nil {
		f.unsure = map[int][][]byte{}
	}
	for s := int(off / sector); s*sector < int(off)+len(p); s++ {
		now := bytes.Clone(f.data[s*sector : min((s+1)*sector, len(f.data))])
		f.unsure[s] = append(f.unsure[s], now)
	}
}

func (f *memFile) Sync() error {
	return f.change("sync", func(err error) {
		if err == nil {
			f.durable, f.unsure = bytes.Clone(f.data), nil
		}
	})
}

// Punch writes zeros within the file.
func (f *memFile) Punch(off, n int64) {
	_ = f.change("punch", func(err error) { // Punch reports no error
		if n = min(n, int64(len(f.data))-off); err == nil && n > 0 {
			f.write(make([]byte, n), off)
		}
	})
}

func (f *memFile) Size() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memFile) Close() error { return nil }

// A cut says what a power cut does with what was not synced.
type cut int

const (
	lost    cut = iota // all of it is lost
	kept               // all of it survives
	random             // of each sector, any state since the last sync survives, and any length of the file
	oldest             // of some sectors the first new state survives; the file has its full length
	killed             // no power cut: the process dies, and the system goes on
	allCuts            // their number
)

// lose returns the file that a power cut leaves. The file itself stays as it is.
func (f *memFile) lose(c cut, rng *rand.Rand) *memFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []byte
	switch c {
	case killed:
		unsure := map[int][][]byte{}
		for s, states := range f.unsure {
			unsure[s] = slices.Clone(states)
		}
		return &memFile{data: bytes.Clone(f.data), durable: bytes.Clone(f.durable), unsure: unsure}
	case lost:
		left = bytes.Clone(f.durable)
	case kept:
		left = bytes.Clone(f.data)
	default:
		length := len(f.data)
		if c == random {
			length -= rng.IntN(len(f.data)-len(f.durable)+1) / sector * sector
		}
		left = append(bytes.Clone(f.durable), make([]byte, length-len(f.durable))...)
		for s := 0; s*sector < length; s++ {
			states := f.unsure[s]
			if len(states) == 0 || rng.IntN(2) == 0 {
				continue
			}
			if c == oldest {
				states = states[:1]
			}
			copy(left[s*sector:length], states[rng.IntN(len(states))])
		}
	}
	return &memFile{data: left, durable: bytes.Clone(left)}
}

var _ file = (*memFile)(nil)
