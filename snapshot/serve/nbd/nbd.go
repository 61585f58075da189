// Package nbd serves disks to NBD clients: nbdcopy, QEMU, the Linux kernel.
//
// It trusts no client. Every number that a client sends is checked before use, and what a client can make the server hold
// is bounded, for each connection and for all of them. Over a network it serves only with TLS, and only clients that show
// a certificate. A reply of success to FLUSH, or to a request with FUA, means that the writes are durable, over whichever
// connection they came.
package nbd

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"time"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

// Exports are the disks that a server offers. Its methods are safe for concurrent use.
type Exports interface {
	// List returns the exports in the order in which clients see them.
	List(ctx context.Context) ([]wire.Listed, error)
	// Open opens the export of a name. The name is valid UTF-8 of at most wire.MaxName bytes; "" asks for the default
	// export. The error wraps fs.ErrNotExist if there is none. The server opens a name once for all connections. Two
	// names can be open at the same time even if they mean the same disk.
	Open(ctx context.Context, name string) (*Export, error)
}

// An Export is an open disk. Its size does not change.
type Export struct {
	Disk image.Disk
	// Writable is the disk again if clients may write to it; nil if they may not.
	Writable    image.Writable
	Name        string // how List calls it; "" if that is the name that it was opened by
	Description string // for people; "" for none
	// Close is called once, after the last connection to the export has ended, and after a Sync of a writable disk. It
	// may be nil.
	Close func() error
}

// Options are how to serve. The zero value is a good choice for a socket on this machine.
type Options struct {
	// TLS makes every client use TLS; nil serves in plain text, which is refused on an address that other machines
	// reach. See ServerTLS.
	TLS *tls.Config

	MaxConnections   int           // at the same time; 0 means 256
	MaxRequests      int           // in flight on one connection; 0 means 64
	Memory           int64         // bytes of data in flight on all connections; 0 means 256 MiB, the least is 32 MiB
	HandshakeTimeout time.Duration // until a client has chosen an export; 0 means 10 s

	Stats *Stats // counts what happens; may be nil
	// Failed is called with an error of an export that its client sees only as a number, and with the error of an
	// export that could not be synced or closed. Several goroutines may call it. It may be nil.
	Failed func(export string, err error)
}

// Stats count what a server does. A terminal may poll them.
type Stats struct {
	Connections atomic.Int64 // open now
	Accepted    atomic.Int64 // ever
	Refused     atomic.Int64 // dropped because there were too many
	Reads       atomic.Int64 // requests
	Writes      atomic.Int64 // requests, with zeroes and trims
	ReadBytes   atomic.Int64 // that were sent, holes included
	WriteBytes  atomic.Int64 // that were written, zeroes and trims included
	Failures    atomic.Int64 // I/O errors that clients got
}

const (
	// stallTimeout is how long a client may stop in the middle of a message. Between messages it may be idle.
	stallTimeout = 60 * time.Second
	// slowest is the slowest transfer in bytes per second: a message may take stallTimeout and its length at this speed.
	slowest = 64 << 10
	// endTimeout is how long replies may take once the server ends.
	endTimeout = 5 * time.Second
	// preferredBlock is the unit, in bytes, in which clients should ask.
	preferredBlock = 4096
)

// withDefaults fills in what is not set.
func (o Options) withDefaults() Options {
	if o.MaxConnections <= 0 {
		o.MaxConnections = 256
	}
	if o.MaxRequests <= 0 {
		o.MaxRequests = 64
	}
	if o.Memory <= 0 {
		o.Memory = 256 << 20
	}
	o.Memory = max(o.Memory, wire.MaxPayload)
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.Stats == nil {
		o.Stats = new(Stats)
	}
	if o.Failed == nil {
		o.Failed = func(string, error) {}
	}
	return o
}

// within is how long a message of n bytes may take.
func within(n int) time.Duration {
	return stallTimeout + time.Duration(n)*time.Second/slowest
}
