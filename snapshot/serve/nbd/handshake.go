package nbd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"platter/snapshot/image/nbd/wire"
)

// errLeft says that a client left before it chose an export, as clients do that only ask.
var errLeft = errors.New("the client left during the handshake")

// contextID is the number of base:allocation in block statuses.
const contextID = 1

// optionLeap is how much of an option that is too long is skipped.
const optionLeap = 1 << 20 // bytes

// handshake greets the client and answers its options until it has chosen an export. An error ends the connection.
//
//	8 ServerMagic | 8 OptionMagic | 2 handshake flags ; the client answers: 4 flags
func (c *conn) handshake() error {
	c.deadline = time.Now().Add(c.srv.HandshakeTimeout)
	c.setDeadline(c.deadline)
	b := binary.BigEndian.AppendUint64(make([]byte, 0, wire.GreetingLen), wire.ServerMagic)
	b = binary.BigEndian.AppendUint64(b, wire.OptionMagic)
	b = binary.BigEndian.AppendUint16(b, wire.FixedNewstyle|wire.NoZeroes)
	if _, err := c.net.Write(b); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(c.in, answer[:]); err != nil {
		return err
	}
	flags := binary.BigEndian.Uint32(answer[:])
	if flags&^uint32(wire.FixedNewstyle|wire.NoZeroes) != 0 {
		return fmt.Errorf("%w: flags %#x of the client are unknown", wire.ErrMalformed, flags)
	}
	c.noZeroes = flags&uint32(wire.NoZeroes) != 0
	for {
		if chosen, err := c.option(); chosen || err != nil {
			return err
		}
	}
}

// option reads one option and answers it. It reports true if transmission begins.
func (c *conn) option() (chosen bool, err error) {
	var head [wire.OptionLen]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return false, err
	}
	h, err := wire.ParseOption(head[:])
	if err != nil {
		return false, err
	}
	out := &optionWriter{Writer: bufio.NewWriter(c.net), option: h.Option}
	if h.Len > wire.MaxOption {
		if h.Len > optionLeap || h.Option == wire.OptExportName {
			return false, fmt.Errorf("%w: an option of %d bytes", wire.ErrMalformed, h.Len)
		}
		if _, err := c.in.Discard(int(h.Len)); err != nil {
			return false, err
		}
		out.fail(wire.RepErrTooBig, "the option is too long")
		return false, out.Flush()
	}
	data := make([]byte, h.Len)
	if _, err := io.ReadFull(c.in, data); err != nil {
		return false, err
	}
	chosen, err = c.answer(out, data)
	return chosen, errors.Join(err, out.Flush())
}

// answer answers an option with its data.
func (c *conn) answer(out *optionWriter, data []byte) (chosen bool, err error) {
	if c.srv.TLS != nil && !c.secure {
		switch out.option {
		case wire.OptStartTLS, wire.OptAbort:
		case wire.OptExportName:
			return false, fmt.Errorf("%w: an export is wanted without TLS", wire.ErrMalformed)
		default:
			out.fail(wire.RepErrTLSRequired, "this server demands TLS and a client certificate")
			return false, nil
		}
	}
	switch out.option {
	case wire.OptExportName:
		return true, c.exportName(out, string(data))
	case wire.OptAbort:
		out.reply(wire.RepAck, nil)
		return false, errors.Join(out.Flush(), errLeft)
	case wire.OptList:
		c.list(out, data)
	case wire.OptStartTLS:
		return false, c.startTLS(out, data)
	case wire.OptInfo, wire.OptGo:
		return c.info(out, data), nil
	case wire.OptStructuredReply:
		if len(data) > 0 {
			out.fail(wire.RepErrInvalid, "this option has no data")
			return false, nil
		}
		c.structured = true
		out.reply(wire.RepAck, nil)
	case wire.OptListMetaContext, wire.OptSetMetaContext:
		c.metaContext(out, data)
	default:
		out.fail(wire.RepErrUnsupported, "unknown option")
	}
	return false, nil
}

// startTLS goes on over TLS. What was agreed on before does not count: it was not protected.
func (c *conn) startTLS(out *optionWriter, data []byte) error {
	switch {
	case c.srv.TLS == nil:
		out.fail(wire.RepErrPolicy, "this server has no TLS")
		return nil
	case c.secure || len(data) > 0:
		out.fail(wire.RepErrInvalid, "TLS is active already, or the option has data")
		return nil
	case c.in.Buffered() > 0:
		// An attacker on the network could put options here, which then count as the client's.
		return fmt.Errorf("%w: the client sent more before it began TLS", wire.ErrMalformed)
	}
	out.reply(wire.RepAck, nil)
	if err := out.Flush(); err != nil {
		return err
	}
	secured := tls.Server(c.raw, c.srv.TLS)
	if err := secured.HandshakeContext(context.WithoutCancel(c.srv.ctx)); err != nil { // the deadline ends it
		return err
	}
	c.agree(nil)
	c.agreed = agreed{noZeroes: c.noZeroes, secure: true}
	c.net, c.in = secured, bufio.NewReaderSize(secured, 32<<10)
	return nil
}

// untimed does work of the server. How long that takes is not the client's fault, so its time is extended.
func (c *conn) untimed(work func()) {
	begun := time.Now()
	c.setDeadline(time.Time{})
	work()
	c.deadline = c.deadline.Add(time.Since(begun))
	c.setDeadline(c.deadline)
}

// open opens an export, and releases the one that the client asked about before.
func (c *conn) open(name string) (e *openExport, err error) {
	if c.export != nil && c.export.name == name {
		return c.export, nil
	}
	c.untimed(func() {
		c.agree(nil)
		e, err = c.srv.exports.acquire(name)
	})
	if err == nil {
		c.agree(e)
	}
	return e, err
}

// agree replaces the export that the client asked about.
func (c *conn) agree(e *openExport) {
	if c.export != nil {
		c.srv.exports.release(c.export)
	}
	c.export = e
}

// transmissionFlags say what the export that was opened can do.
func (c *conn) transmissionFlags() uint16 {
	// Reads are the same over every connection. Sync of a Writable is about what every connection wrote.
	flags := wire.HasFlags | wire.CanMultiConn | wire.SendCache
	if c.structured {
		flags |= wire.SendDF
	}
	if c.export.Writable == nil {
		return flags | wire.ReadOnly
	}
	return flags | wire.SendFlush | wire.SendFUA | wire.SendTrim | wire.SendWriteZeroes | wire.SendFastZero
}

// An optionWriter writes replies to one option. Its first error returns from Flush.
type optionWriter struct {
	*bufio.Writer
	option wire.Option
}

func (w *optionWriter) reply(t wire.ReplyType, data []byte) {
	_, _ = w.Write(wire.OptionReply{Option: w.option, Type: t, Len: uint32(len(data))}.Append(nil))
	_, _ = w.Write(data)
}

func (w *optionWriter) fail(t wire.ReplyType, text string) { w.reply(t, []byte(wire.Text(text))) }
