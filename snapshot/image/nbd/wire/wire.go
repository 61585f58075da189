// Package wire has the numbers and the messages of the NBD protocol, which its client and its server share. It knows no
// connection: it turns messages into bytes and back. All numbers are big-endian.
//
// The protocol is described at https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md.
package wire

// DefaultPort is the TCP port of NBD.
const DefaultPort = "10809"

// The magic numbers that begin messages.
const (
	ServerMagic       uint64 = 0x4e42444d41474943 // the server's first 8 bytes
	OptionMagic       uint64 = 0x49484156454f5054 // the next 8 bytes, and the start of each option
	OldstyleMagic     uint64 = 0x00420281861253   // what an oldstyle server sends instead of OptionMagic
	OptionReplyMagic  uint64 = 0x0003e889045565a9
	RequestMagic      uint32 = 0x25609513
	SimpleReplyMagic  uint32 = 0x67446698
	ReplyChunkMagic   uint32 = 0x668e33ef
	AllocationContext        = "base:allocation"
)

// Bounds on what either side sends.
const (
	MaxName    = 4096     // bytes of a name, a description or an error message
	MaxOption  = 64 << 10 // bytes of an option or of a reply to one
	MaxPayload = 32 << 20 // bytes of data in a request or a reply, if nothing else was agreed on
	MaxExtents = 1 << 20  // descriptors in a block status
)

// Handshake flags of the server, and those with which a client answers.
const (
	FixedNewstyle uint16 = 1 << iota
	NoZeroes
)

// Transmission flags.
const (
	HasFlags uint16 = 1 << iota
	ReadOnly
	SendFlush
	SendFUA
	Rotational
	SendTrim
	SendWriteZeroes
	SendDF
	CanMultiConn
	_
	SendCache
	SendFastZero
)

// An Option is what a client asks for before transmission.
type Option uint32

// The options.
const (
	OptExportName Option = iota + 1
	OptAbort
	OptList
	_
	OptStartTLS
	OptInfo
	OptGo
	OptStructuredReply
	OptListMetaContext
	OptSetMetaContext
	OptExtendedHeaders
)

// A ReplyType says what a reply to an option contains.
type ReplyType uint32

// The replies to options.
const (
	RepAck ReplyType = iota + 1
	RepServer
	RepInfo
	RepMetaContext

	RepError          ReplyType = 1 << 31 // set in every error
	RepErrUnsupported           = RepError + 1
	RepErrPolicy                = RepError + 2
	RepErrInvalid               = RepError + 3
	RepErrPlatform              = RepError + 4
	RepErrTLSRequired           = RepError + 5
	RepErrUnknown               = RepError + 6
	RepErrShutdown              = RepError + 7
	RepErrBlockSize             = RepError + 8
	RepErrTooBig                = RepError + 9
)

// What a client can ask for about an export, and what RepInfo says.
const (
	InfoExport uint16 = iota
	InfoName
	InfoDescription
	InfoBlockSize
)

// A Command is the type of a request.
type Command uint16

// The commands.
const (
	CmdRead Command = iota
	CmdWrite
	CmdDisconnect
	CmdFlush
	CmdTrim
	CmdCache
	CmdWriteZeroes
	CmdBlockStatus
)

// Flags of commands.
const (
	FlagFUA uint16 = 1 << iota
	FlagNoHole
	FlagDF
	FlagReqOne
	FlagFastZero
)

// ChunkDone is the flag of the last chunk of a structured reply.
const ChunkDone uint16 = 1

// Types of chunks.
const (
	ChunkNone        uint16 = 0
	ChunkOffsetData  uint16 = 1
	ChunkOffsetHole  uint16 = 2
	ChunkBlockStatus uint16 = 5
	ChunkIsError     uint16 = 1 << 15 // set in every error
	ChunkError              = ChunkIsError + 1
	ChunkErrorOffset        = ChunkIsError + 2
)

// States of an extent in the context base:allocation.
const (
	StateHole uint32 = 1 << iota // not allocated
	StateZero                    // reads as zeros
)

// An Errno is an error's number on the wire, the same on every system.
type Errno uint32

// The errors.
const (
	EPERM     Errno = 1
	EIO       Errno = 5
	ENOMEM    Errno = 12
	EINVAL    Errno = 22
	ENOSPC    Errno = 28
	EOVERFLOW Errno = 75
	ENOTSUP   Errno = 95
	ESHUTDOWN Errno = 108
)
