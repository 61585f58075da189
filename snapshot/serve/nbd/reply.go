package nbd

import (
	"context"
	"encoding/binary"
	"errors"

	"platter/snapshot/image/nbd/wire"
)

// succeed answers a request that returns no data.
func (c *conn) succeed(r wire.Request) {
	c.out.send(reply{parts: [][]byte{wire.SimpleReply{Cookie: r.Cookie}.Append(nil)}, last: true})
}

// refuse answers a request with an error that the number explains.
func (c *conn) refuse(r wire.Request, number wire.Errno) { c.errorReply(r, number, "", nil) }

// fail answers a request with an error of the disk.
func (c *conn) fail(ctx context.Context, r wire.Request, err error) { c.failAt(ctx, r, err, nil) }

// failAt is fail; at is where the error is, if that is known.
func (c *conn) failAt(ctx context.Context, r wire.Request, err error, at *int64) {
	number := errno(err)
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		number = wire.ESHUTDOWN // the connection or the server ends; the disk is fine
	}
	if number != wire.ESHUTDOWN {
		c.srv.Stats.Failures.Add(1)
		c.srv.Failed(c.export.name, err)
	}
	c.errorReply(r, number, wire.Text(err.Error()), at)
}

// errorReply answers with an error. Without structured replies, its number is all that a client gets.
//
//	4 error | 2 length of text | text | 8 offset, in ChunkErrorOffset only
func (c *conn) errorReply(r wire.Request, number wire.Errno, text string, at *int64) {
	if !c.structured {
		c.out.send(reply{parts: [][]byte{wire.SimpleReply{Error: number, Cookie: r.Cookie}.Append(nil)}, last: true})
		return
	}
	chunk := wire.Chunk{Flags: wire.ChunkDone, Type: wire.ChunkError, Cookie: r.Cookie, Len: uint32(6 + len(text))}
	if at != nil {
		chunk.Type, chunk.Len = wire.ChunkErrorOffset, chunk.Len+8
	}
	b := chunk.Append(make([]byte, 0, wire.ChunkLen+chunk.Len))
	b = binary.BigEndian.AppendUint32(b, uint32(number))
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	b = append(b, text...)
	if at != nil {
		b = binary.BigEndian.AppendUint64(b, uint64(*at))
	}
	c.out.send(reply{parts: [][]byte{b}, last: true})
}

// appendData appends the header of a chunk with n bytes of data, which begin at off on the disk.
func appendData(b []byte, r wire.Request, flags uint16, off int64, n int) []byte {
	b = wire.Chunk{Flags: flags, Type: wire.ChunkOffsetData, Cookie: r.Cookie, Len: uint32(8 + n)}.Append(b)
	return binary.BigEndian.AppendUint64(b, uint64(off))
}

// appendHole appends a chunk that says that n bytes at off are zeros.
func appendHole(b []byte, r wire.Request, flags uint16, off int64, n int) []byte {
	b = wire.Chunk{Flags: flags, Type: wire.ChunkOffsetHole, Cookie: r.Cookie, Len: 12}.Append(b)
	b = binary.BigEndian.AppendUint64(b, uint64(off))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}
