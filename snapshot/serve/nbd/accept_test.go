package nbd

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"platter/snapshot/image/nbd/wire"
)

// flaky is a listener that fails a few times, as one does when too many files are open.
type flaky struct {
	*pipes
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, errWanted
	}
	return f.pipes.Accept()
}

// TestAccept serves on after errors that pass, and returns an error once its listener is closed.
func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &flaky{newPipes(), 20}
		done := make(chan error)
		go func() { done <- Serve(t.Context(), l, shelf{"": {Disk: newRAM(make([]byte, 10))}}, Options{}) }()
		c := greet(t, l.dial(t), clientFlags)
		c.begin("", false)
		c.ask(wire.Request{Command: wire.CmdRead, Len: 10})
		c.read(wire.SimpleReplyLen + 10)
		l.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		c.gone()
	})
}
