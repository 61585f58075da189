// Package nbd reads an NBD export as a disk: a virtual machine's by way of QEMU, or one that another platter serves.
//
// It trusts no server. A reply is checked against what was asked, and whatever does not fit ends the connection. A lost
// connection is not made again, since the export may be another one then: all later reads fail.
package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sync/atomic"
	"time"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

// Options are how to open an export.
type Options struct {
	Connections int // if the server allows several; 0 means 4

	// For nbds:// only, PEM files.
	CA        string // signed the server's certificate; "" means the system's CAs
	Cert, Key string // what this client shows the server; "" for nothing

	// Folders may have those files under libnbd's names. The first one with a CA counts, if neither the files above nor the URI
	// name any.
	Folders []string
}

const (
	// inFlight is how many requests one connection has in flight.
	inFlight = 16
	// pieceMax is the most that one request reads. Longer reads become several, over all connections.
	pieceMax = 1 << 20 // bytes
	// statusLen is how much one request for extents asks about.
	statusLen = 1 << 30 // bytes
	// handshakeTimeout is how long a server may take until it offers the export.
	handshakeTimeout = 30 * time.Second
	// extraTimeout and extraFactor are the same for all connections but the first, as a time and as a multiple of what the
	// first one took; the longer counts. A server that has reached its limit may not answer.
	extraTimeout = time.Second
	extraFactor  = 10
)

// ErrLost says that a connection to a server was lost, or that the server broke the protocol. It never comes with an
// error that image.IsMediaError accepts: what was lost is not a place on the disk.
var ErrLost = errors.New("the connection to the NBD server is of no use any more")

// Kind is the kind of a source that is an NBD export.
const Kind = "nbd"

// A Disk is an NBD export.
type Disk struct {
	offer
	ctx   context.Context // of Open, for ReadAt
	to    *target
	extra time.Duration // how long a further connection may take; 0 if the server allows no more
	conns []*conn
	turn  atomic.Uint32 // where the search for an idle connection begins
}

var (
	_ image.Disk          = (*Disk)(nil)
	_ image.ContextReader = (*Disk)(nil)
	_ image.RangeReader   = (*Disk)(nil)
	_ image.Sectored      = (*Disk)(nil)
	_ io.Closer           = (*Disk)(nil)

	_ image.ChangeDetector = (*Disk)(nil)
)

// Open connects to the export that a URI names: nbd://HOST[:PORT]/NAME, nbd+unix:///NAME?socket=PATH, or with TLS
// // nbds:// and nbds+unix://. The error wraps fs.ErrNotExist if the server has no such export. Reads that have no context of
// their own end with ctx. Close ends the connections.
func Open(ctx context.Context, uri string, o Options) (*Disk, error) {
	t, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if err := t.trust(o); err != nil {
		return nil, fmt.Errorf("open %s: %w", uri, err)
	}
	d := &Disk{ctx: ctx, to: t}
	start := time.Now()
	first, err := t.dial(ctx, handshakeTimeout)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", uri, err)
	}
	d.offer, d.conns = first.offer, []*conn{first}
	if o.Connections <= 0 {
		o.Connections = 4
	}
	if d.Flags&wire.CanMultiConn != 0 {
		d.extra = min(max(extraTimeout, extraFactor*time.Since(start)), handshakeTimeout)
	}
	for d.extra > 0 && len(d.conns) < o.Connections {
		c, err := t.dial(ctx, d.extra)
		if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), d.Close())
		}
		if err != nil {
			d.extra = 0
			break // the server has its limits; one connection does
		}
		d.conns = append(d.conns, c)
		if c.offer != d.offer {
			return nil, errors.Join(fmt.Errorf("open %s: the export changed between two connections", uri), d.Close())
		}
	}
	return d, nil
}

// Size returns the size in bytes.
func (d *Disk) Size() int64 { return int64(d.offer.Size) }

// Description returns what the server says about the export, for people; "" if it says nothing.
func (d *Disk) Description() string { return d.description }

// ReadOnly reports whether the server refuses writes to the export. Other clients may still write to what it exports.
func (d *Disk) ReadOnly() bool { return d.Flags&wire.ReadOnly != 0 }

// Connections returns the number of connections.
func (d *Disk) Connections() int { return len(d.conns) }

// KnowsHoles reports whether the server says which parts of the export are zero.
func (d *Disk) KnowsHoles() bool { return d.allocation }

// Changed asks for the size again, over another connection. It returns nil if the server allows no further connection.
func (d *Disk) Changed() error {
	if d.extra == 0 {
		return nil
	}
	c, err := d.to.dial(d.ctx, d.extra)
	if err != nil {
		return nil // this says nothing about the export, which may have been offered only once
	}
	defer c.close()
	if c.Size != d.offer.Size {
		return fmt.Errorf("%w: %d bytes when it was opened, %d bytes now", image.ErrResized, d.offer.Size, c.Size)
	}
	return nil
}

// Close says goodbye to the server. Reads that run fail.
func (d *Disk) Close() error {
	for _, c := range d.conns {
		c.close()
	}
	return nil
}

// ReadAt reads at a byte offset; past the end it returns io.EOF.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	return d.ReadAtContext(d.ctx, p, off)
}

// SectorSize returns the smallest unit in bytes that the server reads.
func (d *Disk) SectorSize() int64 { return max(512, int64(d.block.Min)) }

// ReadSectors is ReadAt: there is no cache in between.
func (d *Disk) ReadSectors(p []byte, off int64) (int, error) { return d.ReadAt(p, off) }

// ReadAtContext is ReadAt under ctx. An error of the server's disk is a *ServerError.
func (d *Disk) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read NBD export: negative offset")
	}
	whole := len(p)
	p = p[:max(min(int64(whole), d.Size()-off), 0)]
	n, err := d.readAligned(ctx, p, off)
	if err == nil && n < whole {
		err = io.EOF
	}
	return n, err
}

// readAligned reads p, which is within the disk. It asks the server for whole blocks only.
func (d *Disk) readAligned(ctx context.Context, p []byte, off int64) (int, error) {
	block := int64(d.block.Min)
	from, to := off/block*block, (off+int64(len(p))+block-1)/block*block
	if from == off && to == off+int64(len(p)) {
		return d.read(ctx, p, off)
	}
	wide := make([]byte, to-from)
	n, err := d.read(ctx, wide, from)
	if n = copy(p, wide[min(int64(n), off-from):n]); n == len(p) {
		err = nil
	}
	return n, err
}

// read reads whole blocks in pieces, all of them at once.
func (d *Disk) read(ctx context.Context, p []byte, off int64) (int, error) {
	piece := int(d.piece())
	if len(p) <= piece {
		if len(p) == 0 {
			return 0, nil
		}
		call := &call{command: wire.CmdRead, off: off, n: int64(len(p)), p: p}
		if err := d.pick().do(ctx, call); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	type started struct {
		*conn
		*call
	}
	var all []started
	var err error
	for i := 0; i < len(p) && err == nil; i += piece {
		part := p[i:min(i+piece, len(p))]
		s := started{d.pick(), &call{command: wire.CmdRead, off: off + int64(i), n: int64(len(part)), p: part}}
		if err = s.start(ctx, s.call); err == nil {
			all = append(all, s)
		}
	}
	n := 0
	var failed error
	for _, s := range all {
		// After an error the others are abandoned: p is the caller's again when this returns.
		if failed != nil {
			s.abandon(s.call)
		} else if failed = s.wait(ctx, s.call); failed == nil {
			n += int(s.n)
		}
	}
	if failed != nil {
		err = failed
	}
	return n, err
}

// piece is how long a read may be.
func (d *Disk) piece() int64 {
	return max(min(int64(d.block.Max), pieceMax)/int64(d.block.Min), 1) * int64(d.block.Min)
}

// pick returns the connection with the fewest requests in flight. Once one is lost, it returns that one, and its error
// is that of every request.
func (d *Disk) pick() *conn {
	turn := int(d.turn.Add(1) % uint32(len(d.conns)))
	best := d.conns[turn]
	for i := range d.conns {
		c := d.conns[(turn+i)%len(d.conns)]
		if c.lost.Load() {
			return c
		}
		if len(c.slots) < len(best.slots) {
			best = c
		}
	}
	return best
}

// Extents yields the whole export.
func (d *Disk) Extents() iter.Seq2[image.Extent, error] {
	return d.ExtentsIn(d.ctx, 0, d.Size())
}

// ExtentsIn yields a range of the export. Without the context base:allocation, all of it may be data.
func (d *Disk) ExtentsIn(ctx context.Context, off, n int64) iter.Seq2[image.Extent, error] {
	if !d.allocation {
		return image.Joined(func(yield func(image.Extent, error) bool) { yield(image.Extent{Off: off, Len: n}, nil) })
	}
	block := int64(d.block.Min)
	return image.Joined(func(yield func(image.Extent, error) bool) {
		for end := off + n; off < end; {
			from := off / block * block
			// The end is rounded up: the size of the export is a multiple of its blocks.
			length := min((end-from+block-1)/block*block, statusLen)
			call := &call{command: wire.CmdBlockStatus, off: from, n: length}
			if err := d.pick().do(ctx, call); err != nil {
				yield(image.Extent{}, fmt.Errorf("extents at %d: %w", off, err))
				return
			}
			for _, e := range call.extents {
				to := min(e.Off+e.Len, end)
				if to <= off {
					continue
				}
				if !yield(image.Extent{Off: off, Len: to - off, Zero: e.Zero}, nil) {
					return
				}
				off = to
			}
		}
	})
}

// valid returns an error if no disk can be as the server says.
func (o *offer) valid() error {
	if o.Size > math.MaxInt64 {
		return fmt.Errorf("%w: a size of %d bytes", wire.ErrMalformed, o.Size)
	}
	if o.block.Min == 0 { // the server said nothing: every server accepts whole sectors
		o.block = wire.BlockSize{Min: 512, Preferred: 4096, Max: wire.MaxPayload}
		if o.Size%512 != 0 {
			o.block.Min = 1
		}
	}
	if o.Size%uint64(o.block.Min) != 0 {
		return fmt.Errorf("its size of %d bytes is no multiple of its block size of %d: the end cannot be read",
			o.Size, o.block.Min)
	}
	return nil
}
