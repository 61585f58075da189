package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed says that a message breaks the protocol.
var ErrMalformed = errors.New("malformed NBD message")

// Lengths of headers in bytes.
const (
	GreetingLen    = 18
	OptionLen      = 16
	OptionReplyLen = 20
	RequestLen     = 28
	SimpleReplyLen = 16
	ChunkLen       = 20
)

// An OptionHeader begins an option.
//
//	8 OptionMagic | 4 option | 4 length of the data
type OptionHeader struct {
	Option Option
	Len    uint32 // bytes of data that follow
}

// Append appends the header's bytes.
func (h OptionHeader) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, OptionMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Option))
	return binary.BigEndian.AppendUint32(b, h.Len)
}

// ParseOption reads a header of OptionLen bytes. An error wraps ErrMalformed.
func ParseOption(b []byte) (OptionHeader, error) {
	if err := begins64(b, OptionLen, OptionMagic); err != nil {
		return OptionHeader{}, fmt.Errorf("option: %w", err)
	}
	return OptionHeader{Option(binary.BigEndian.Uint32(b[8:])), binary.BigEndian.Uint32(b[12:])}, nil
}

// An OptionReply begins a reply to an option.
//
//	8 OptionReplyMagic | 4 option | 4 type | 4 length of the data
type OptionReply struct {
	Option Option
	Type   ReplyType
	Len    uint32 // bytes of data that follow
}

// Append appends the header's bytes.
func (r OptionReply) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, OptionReplyMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Option))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Type))
	return binary.BigEndian.AppendUint32(b, r.Len)
}

// ParseOptionReply reads a header of OptionReplyLen bytes. An error wraps ErrMalformed.
func ParseOptionReply(b []byte) (OptionReply, error) {
	if err := begins64(b, OptionReplyLen, OptionReplyMagic); err != nil {
		return OptionReply{}, fmt.Errorf("reply to an option: %w", err)
	}
	return OptionReply{
		Option(binary.BigEndian.Uint32(b[8:])), ReplyType(binary.BigEndian.Uint32(b[12:])), binary.BigEndian.Uint32(b[16:]),
	}, nil
}

// A Request is a client's request. The data of a CmdWrite follows it.
//
//	4 RequestMagic | 2 flags | 2 command | 8 cookie | 8 offset | 4 length
type Request struct {
	Flags   uint16
	Command Command
	Cookie  uint64 // chosen by the client, repeated in the reply
	Off     uint64 // bytes
	Len     uint32 // bytes
}

// Append appends the request's bytes.
func (r Request) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, RequestMagic)
	b = binary.BigEndian.AppendUint16(b, r.Flags)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Command))
	b = binary.BigEndian.AppendUint64(b, r.Cookie)
	b = binary.BigEndian.AppendUint64(b, r.Off)
	return binary.BigEndian.AppendUint32(b, r.Len)
}

// ParseRequest reads a request of RequestLen bytes. An error wraps ErrMalformed.
func ParseRequest(b []byte) (Request, error) {
	if len(b) != RequestLen || binary.BigEndian.Uint32(b) != RequestMagic {
		return Request{}, fmt.Errorf("request: %w: it does not begin with the magic number", ErrMalformed)
	}
	return Request{
		Flags: binary.BigEndian.Uint16(b[4:]), Command: Command(binary.BigEndian.Uint16(b[6:])),
		Cookie: binary.BigEndian.Uint64(b[8:]), Off: binary.BigEndian.Uint64(b[16:]), Len: binary.BigEndian.Uint32(b[24:]),
	}, nil
}

// A SimpleReply answers a request. The data of a CmdRead that succeeded follows it.
//
//	4 SimpleReplyMagic | 4 error | 8 cookie
type SimpleReply struct {
	Error  Errno // 0: success
	Cookie uint64
}

// Append appends the reply's bytes.
func (r SimpleReply) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, SimpleReplyMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Error))
	return binary.BigEndian.AppendUint64(b, r.Cookie)
}

// A Chunk is a part of a structured reply.
//
//	4 ReplyChunkMagic | 2 flags | 2 type | 8 cookie | 4 length of the payload
type Chunk struct {
	Flags, Type uint16
	Cookie      uint64
	Len         uint32 // bytes of payload that follow
}

// Append appends the bytes of the chunk's header.
func (c Chunk) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, ReplyChunkMagic)
	b = binary.BigEndian.AppendUint16(b, c.Flags)
	b = binary.BigEndian.AppendUint16(b, c.Type)
	b = binary.BigEndian.AppendUint64(b, c.Cookie)
	return binary.BigEndian.AppendUint32(b, c.Len)
}

// ParseSimpleReply reads a reply of SimpleReplyLen bytes that begins with SimpleReplyMagic.
func ParseSimpleReply(b []byte) SimpleReply {
	return SimpleReply{Errno(binary.BigEndian.Uint32(b[4:])), binary.BigEndian.Uint64(b[8:])}
}

// ParseChunk reads a header of ChunkLen bytes that begins with ReplyChunkMagic.
func ParseChunk(b []byte) Chunk {
	return Chunk{
		binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint64(b[8:]),
		binary.BigEndian.Uint32(b[16:]),
	}
}

func begins64(b []byte, length int, magic uint64) error {
	if len(b) != length || binary.BigEndian.Uint64(b) != magic {
		return fmt.Errorf("%w: it does not begin with the magic number", ErrMalformed)
	}
	return nil
}
