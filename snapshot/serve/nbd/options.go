package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"platter/snapshot/image/nbd/wire"
)

// exportName answers OptExportName, with which old clients choose an export. It cannot answer with an error.
//
//	8 size | 2 transmission flags | 124 zeros, unless the client does not want them
func (c *conn) exportName(out *optionWriter, name string) error {
	if err := wire.CheckName(name); err != nil {
		return err
	}
	if _, err := c.open(name); err != nil {
		return err
	}
	c.settleContext(name)
	b := binary.BigEndian.AppendUint64(nil, uint64(c.export.Disk.Size()))
	b = binary.BigEndian.AppendUint16(b, c.transmissionFlags())
	if !c.noZeroes {
		b = append(b, make([]byte, 124)...)
	}
	_, err := out.Write(b)
	return err
}

// list answers OptList.
func (c *conn) list(out *optionWriter, data []byte) {
	if len(data) > 0 {
		out.fail(wire.RepErrInvalid, "this option has no data")
		return
	}
	var all []wire.Listed
	var err error
	c.untimed(func() { all, err = c.srv.exports.exports.List(c.srv.ctx) })
	if err != nil {
		out.fail(c.refusal(err), err.Error())
		return
	}
	for _, e := range all {
		if wire.CheckName(e.Name) == nil {
			e.Description = wire.Text(e.Description)
			out.reply(wire.RepServer, e.Append(nil))
		}
	}
	out.reply(wire.RepAck, nil)
}

// info answers OptInfo and OptGo. It reports whether transmission begins.
func (c *conn) info(out *optionWriter, data []byte) (begins bool) {
	r, err := wire.ParseInfoRequest(data)
	if err != nil {
		out.fail(wire.RepErrInvalid, err.Error())
		return false
	}
	e, err := c.open(r.Name)
	if err != nil {
		out.fail(c.refusal(err), fmt.Sprintf("export %q: %v", r.Name, err))
		return false
	}
	wants := func(info uint16) bool { return slices.Contains(r.Infos, info) }
	out.reply(wire.RepInfo, wire.Geometry{Size: uint64(e.Disk.Size()), Flags: c.transmissionFlags()}.Append(nil))
	if wants(wire.InfoName) {
		name := e.Name
		if name == "" {
			name = r.Name
		}
		out.info(wire.InfoName, wire.Text(name))
	}
	if wants(wire.InfoDescription) && e.Description != "" {
		out.info(wire.InfoDescription, wire.Text(e.Description))
	}
	if wants(wire.InfoBlockSize) {
		size := wire.BlockSize{Min: 1, Preferred: preferredBlock, Max: wire.MaxPayload}
		out.reply(wire.RepInfo, size.Append(nil))
	}
	out.reply(wire.RepAck, nil)
	if out.option != wire.OptGo {
		return false
	}
	c.settleContext(r.Name)
	return true
}

func (w *optionWriter) info(kind uint16, text string) {
	w.reply(wire.RepInfo, append(binary.BigEndian.AppendUint16(nil, kind), text...))
}

// metaContext answers OptListMetaContext and OptSetMetaContext. Contexts that this server does not know are ignored, as
// the protocol says: QEMU asks for some of its own.
//
//	4 context ID | name
func (c *conn) metaContext(out *optionWriter, data []byte) {
	sets := out.option == wire.OptSetMetaContext
	if sets {
		c.context = false // a new selection replaces the last one even if it fails
	}
	r, err := wire.ParseMetaRequest(data)
	if err == nil && !c.structured {
		err = errors.New("ask for structured replies first")
	}
	if err != nil {
		out.fail(wire.RepErrInvalid, err.Error())
		return
	}
	if _, err := c.open(r.Name); err != nil {
		out.fail(c.refusal(err), fmt.Sprintf("export %q: %v", r.Name, err))
		return
	}
	found := slices.Contains(r.Queries, wire.AllocationContext) ||
		!sets && (len(r.Queries) == 0 || slices.Contains(r.Queries, "base:"))
	if found {
		id := uint32(0) // that of a list means nothing
		if sets {
			id, c.context, c.contextOf = contextID, true, r.Name
		}
		out.reply(wire.RepMetaContext, append(binary.BigEndian.AppendUint32(nil, id), wire.AllocationContext...))
	}
	out.reply(wire.RepAck, nil)
}

// settleContext drops a context that was selected for another export than the one that is served.
func (c *conn) settleContext(name string) { c.context = c.context && c.contextOf == name }

// refusal returns the reply for an export that cannot be served.
func (c *conn) refusal(err error) wire.ReplyType {
	switch {
	case c.srv.ctx.Err() != nil:
		return wire.RepErrShutdown
	case errors.Is(err, fs.ErrPermission):
		return wire.RepErrPolicy
	}
	return wire.RepErrUnknown
}
