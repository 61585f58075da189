package store

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/zeebo/blake3"
)

// copies keeps small files whole in one file of this machine, in order of arrival. Five thousand separate files would
// take seconds to create.
//
//	hash 32, length u32, bytes
//
// Damage to the file costs copies and nothing else: bytes that do not match their hash are never returned. Several
// processes may use it at once. Each appends with one write. A process that rewrites the file renames a new one over
// the old one. What other processes then append to the old one is dropped.
type copies struct {
	path string

	mu    sync.Mutex
	f     *os.File // nil before the first look, and if there is none
	known bool     // look was called
	at    map[[32]byte]extent
	waste bool // the file has bytes that are no copy
}

type extent struct{ off, len int64 }

const copyHead = 32 + 4

// maxCopies limits the file, in bytes: anything beyond is dropped.
const maxCopies = 1 << 30

// look reads the offsets of the copies. mu must be held.
func (c *copies) look() {
	if c.known {
		return
	}
	c.known, c.at = true, map[[32]byte]extent{}
	f, err := os.OpenFile(c.path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return
	}
	c.f = f
	size := min(info.Size(), maxCopies)
	var head [copyHead]byte
	off := int64(0)
	in := newSkipper(f)
	for off < size {
		if in.read(off, head[:]) != nil {
			break
		}
		n := int64(binary.LittleEndian.Uint32(head[32:]))
		if n > maxKept || off+copyHead+n > size {
			break
		}
		if _, twice := c.at[[32]byte(head[:])]; twice { // the first copy was damaged
			c.waste = true
		}
		c.at[[32]byte(head[:])] = extent{off + copyHead, n}
		off += copyHead + n
	}
	c.waste = c.waste || off < info.Size()
}

// get returns a copy.
func (c *copies) get(id [32]byte) ([]byte, bool) {
	c.mu.Lock()
	c.look()
	e, ok := c.at[id]
	if !ok {
		c.mu.Unlock()
		return nil, false
	}
	data := make([]byte, e.len)
	_, err := c.f.ReadAt(data, e.off)
	c.mu.Unlock()
	if (err == nil || errors.Is(err, io.EOF)) && blake3.Sum256(data) == id {
		return data, true
	}
	c.drop(id)
	return nil, false
}

// drop removes a copy from the list. Its bytes stay until the next retain.
func (c *copies) drop(id [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	if _, ok := c.at[id]; ok {
		delete(c.at, id)
		c.waste = true
	}
}

// add appends a copy unless there is one already.
func (c *copies) add(id [32]byte, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	if _, ok := c.at[id]; ok {
		return
	}
	if c.f == nil {
		f, err := os.OpenFile(c.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return
		}
		c.f = f
	}
	if _, err := c.f.Write(appendCopy(nil, id, data)); err != nil {
		c.waste = true // a partial copy ends the list for the next process; retain rewrites the file
		return
	}
	if end, err := c.f.Seek(0, io.SeekCurrent); err == nil { // where this write ended, even if other processes append
		c.at[id] = extent{end - int64(len(data)), int64(len(data))}
	}
}

func appendCopy(dst []byte, id [32]byte, data []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(append(dst, id[:]...), uint32(len(data)))
	return append(dst, data...)
}

// retain drops the copies that fail pass. It rewrites the file if it holds anything else.
func (c *copies) retain(pass func(id [32]byte) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	for id := range c.at {
		if !pass(id) {
			delete(c.at, id)
			c.waste = true
		}
	}
	if c.f == nil || !c.waste {
		return
	}
	temp := c.path + tempPrefix + "new" // if two processes use it at once, the hashes detect a mixture
	if f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err == nil {
		err = c.writeTo(f)
		c.f.Close() // Windows does not rename over an open file
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(temp, c.path)
		}
		if err != nil {
			os.Remove(temp)
			os.Remove(c.path)
		}
		c.f, c.known, c.at, c.waste = nil, false, nil, false // look again
	}
}

func (c *copies) writeTo(f *os.File) error {
	var buf, data []byte
	for id, e := range c.at {
		if data = data[:0]; int64(cap(data)) < e.len {
			data = make([]byte, 0, e.len)
		}
		data = data[:e.len]
		if _, err := c.f.ReadAt(data, e.off); err != nil {
			return err
		}
		if buf = appendCopy(buf, id, data); len(buf) > pieceSize {
			if _, err := f.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	_, err := f.Write(buf)
	return err
}

func (c *copies) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f != nil {
		c.f.Close()
	}
	c.f, c.known, c.at = nil, false, nil
}

// A skipper reads small pieces of a file front to back, many of them with one system call. bufio.Reader would also read
// everything between them, up to 1 GiB.
type skipper struct {
	f    *os.File
	from int64
	buf  []byte
}

func newSkipper(f *os.File) *skipper { return &skipper{f: f} }

func (s *skipper) read(off int64, p []byte) error {
	if end := s.from + int64(len(s.buf)); off < s.from || off+int64(len(p)) > end {
		if s.buf == nil {
			s.buf = make([]byte, 256<<10)
		}
		n, err := s.f.ReadAt(s.buf[:cap(s.buf)], off)
		if s.from, s.buf = off, s.buf[:n]; n < len(p) {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	copy(p, s.buf[off-s.from:])
	return nil
}
