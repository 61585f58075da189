package nbd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"platter/snapshot/image/nbd/wire"
)

// maxReplies is how many replies one option may have.
const maxReplies = 64

// An offer is what a server offers over a connection.
type offer struct {
	wire.Geometry
	block       wire.BlockSize
	description string
	structured  bool   // replies to reads come in chunks
	allocation  bool   // base:allocation was selected
	contextID   uint32 // its number
}

// A refusal is a server's error reply to an option.
type refusal struct {
	kind wire.ReplyType
	text string
}

func (r *refusal) Error() string {
	text := map[wire.ReplyType]string{
		wire.RepErrUnsupported: "the server does not know the option",
		wire.RepErrPolicy:      "the server does not allow it",
		wire.RepErrInvalid:     "the server takes the option for invalid",
		wire.RepErrPlatform:    "the server cannot do it on its platform",
		wire.RepErrTLSRequired: "the server demands TLS: use nbds:// or nbds+unix://, and a certificate if it wants one",
		wire.RepErrUnknown:     "the server has no such export",
		wire.RepErrShutdown:    "the server is ending",
	}[r.kind]
	if text == "" {
		text = fmt.Sprintf("the server refuses (%#x)", uint32(r.kind))
	}
	if r.text != "" {
		text += fmt.Sprintf("; it says %q", r.text)
	}
	return text
}

// Unwrap makes an unknown export an fs.ErrNotExist, and a policy an fs.ErrPermission.
func (r *refusal) Unwrap() error {
	switch r.kind {
	case wire.RepErrUnknown:
		return fs.ErrNotExist
	case wire.RepErrPolicy:
		return fs.ErrPermission
	}
	return nil
}

// dial connects and agrees with the server on how to transmit.
func (t *target) dial(ctx context.Context, timeout time.Duration) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, t.network, t.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	h := &handshake{target: t, net: raw, in: newReader(raw)}
	err = h.run(ctx)
	if !stop() {
		err = fmt.Errorf("the server at %s does not finish its handshake: %w", t.address, context.Cause(ctx))
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return newConn(h.net, h.in, h.offer), nil
}

// A handshake is a connection before transmission.
type handshake struct {
	*target
	net net.Conn
	in  *bufio.Reader
	offer
}

func (h *handshake) run(ctx context.Context) error {
	noZeroes, err := h.greet()
	if err != nil {
		return err
	}
	if h.tls != nil {
		if err := h.startTLS(ctx); err != nil {
			return fmt.Errorf("begin TLS: %w", err)
		}
	}
	switch err := h.ask(wire.OptStructuredReply, nil, nil); {
	case err == nil:
		h.structured = true
		if err := h.selectContext(); err != nil {
			return err
		}
	case !refused(err), refused(err, wire.RepErrTLSRequired):
		return err
	}
	err = h.choose()
	if refused(err, wire.RepErrUnsupported) {
		err = h.exportName(noZeroes)
	}
	if err != nil {
		return fmt.Errorf("export %q: %w", h.name, err)
	}
	return h.valid()
}

// refused reports whether err is a refusal, of one of some kinds if any are given.
func refused(err error, kinds ...wire.ReplyType) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	for _, k := range kinds {
		if r.kind == k {
			return true
		}
	}
	return len(kinds) == 0
}

// greet reads the server's greeting and answers it.
func (h *handshake) greet() (noZeroes bool, err error) {
	b := make([]byte, wire.GreetingLen)
	if _, err := io.ReadFull(h.in, b); err != nil {
		return false, fmt.Errorf("the server does not greet: %w", err)
	}
	flags := binary.BigEndian.Uint16(b[16:])
	switch {
	case binary.BigEndian.Uint64(b) != wire.ServerMagic:
		return false, errors.New("this is not an NBD server")
	case binary.BigEndian.Uint64(b[8:]) == wire.OldstyleMagic, flags&wire.FixedNewstyle == 0:
		return false, errors.New("the server speaks an NBD of before 2012, without fixed newstyle")
	case binary.BigEndian.Uint64(b[8:]) != wire.OptionMagic:
		return false, fmt.Errorf("greeting: %w", wire.ErrMalformed)
	}
	_, err = h.net.Write(binary.BigEndian.AppendUint32(nil, uint32(flags&(wire.FixedNewstyle|wire.NoZeroes))))
	return flags&wire.NoZeroes != 0, err
}

func (h *handshake) startTLS(ctx context.Context) error {
	if err := h.ask(wire.OptStartTLS, nil, nil); err != nil {
		return err
	}
	if h.in.Buffered() > 0 { // an attacker on the network could put replies here
		return fmt.Errorf("%w: text before TLS", wire.ErrMalformed)
	}
	secured := tls.Client(h.net, h.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	h.net, h.in = secured, newReader(secured)
	return nil
}

// selectContext asks for base:allocation. A server without it has no extents, and can be read.
func (h *handshake) selectContext() error {
	r := wire.MetaRequest{Name: h.name, Queries: []string{wire.AllocationContext}}
	err := h.ask(wire.OptSetMetaContext, r.Append(nil), func(t wire.ReplyType, b []byte) error {
		if t != wire.RepMetaContext || len(b) < 4 {
			return fmt.Errorf("metadata contexts: %w", wire.ErrMalformed)
		}
		if string(b[4:]) == wire.AllocationContext {
			h.allocation, h.contextID = true, binary.BigEndian.Uint32(b)
		}
		return nil
	})
	if refused(err) {
		h.allocation, err = false, nil // if the export is unknown, choose says so
	}
	return err
}

// choose asks for the export, and ends the handshake.
func (h *handshake) choose() error {
	r := wire.InfoRequest{Name: h.name, Infos: []uint16{wire.InfoDescription, wire.InfoBlockSize}}
	known := false
	err := h.ask(wire.OptGo, r.Append(nil), func(t wire.ReplyType, b []byte) (err error) {
		if t != wire.RepInfo || len(b) < 2 {
			return fmt.Errorf("infos: %w", wire.ErrMalformed)
		}
		switch binary.BigEndian.Uint16(b) {
		case wire.InfoExport:
			h.Geometry, err = wire.ParseGeometry(b)
			known = true
		case wire.InfoDescription:
			h.description = wire.Text(string(b[2:]))
		case wire.InfoBlockSize:
			h.block, err = wire.ParseBlockSize(b)
		}
		return err
	})
	if err == nil && !known {
		err = fmt.Errorf("%w: the server does not tell the size", wire.ErrMalformed)
	}
	return err
}

// exportName asks an old server for the export. If it has none, it hangs up.
func (h *handshake) exportName(noZeroes bool) error {
	b := wire.OptionHeader{Option: wire.OptExportName, Len: uint32(len(h.name))}.Append(nil)
	if _, err := h.net.Write(append(b, h.name...)); err != nil {
		return err
	}
	b = make([]byte, 10+124)
	if noZeroes {
		b = b[:10]
	}
	if _, err := io.ReadFull(h.in, b); err != nil {
		return fmt.Errorf("the server does not offer it: %w", err)
	}
	h.Geometry = wire.Geometry{Size: binary.BigEndian.Uint64(b), Flags: binary.BigEndian.Uint16(b[8:])}
	return nil
}

// ask sends an option, and reads its replies up to the last one. each sees those before; nil allows none. The error is a
// *refusal if the server refuses.
func (h *handshake) ask(o wire.Option, data []byte, each func(wire.ReplyType, []byte) error) error {
	b := wire.OptionHeader{Option: o, Len: uint32(len(data))}.Append(nil)
	if _, err := h.net.Write(append(b, data...)); err != nil {
		return err
	}
	for range maxReplies {
		b = make([]byte, wire.OptionReplyLen)
		if _, err := io.ReadFull(h.in, b); err != nil {
			return fmt.Errorf("the server hung up: %w", err)
		}
		r, err := wire.ParseOptionReply(b)
		if err != nil {
			return err
		}
		if r.Option != o || r.Len > wire.MaxOption {
			return fmt.Errorf("%w: a reply of %d bytes to option %d, which answers option %d", wire.ErrMalformed, r.Len, o, r.Option)
		}
		b = make([]byte, r.Len)
		if _, err := io.ReadFull(h.in, b); err != nil {
			return fmt.Errorf("the server hung up: %w", err)
		}
		switch {
		case r.Type == wire.RepAck:
			return nil
		case r.Type&wire.RepError != 0:
			return &refusal{r.Type, wire.Text(string(b))}
		case each == nil:
			return fmt.Errorf("%w: reply %d to option %d", wire.ErrMalformed, r.Type, o)
		}
		if err := each(r.Type, b); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d replies to option %d", wire.ErrMalformed, maxReplies, o)
}
