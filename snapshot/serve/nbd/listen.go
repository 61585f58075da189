package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"platter/snapshot/image/nbd/wire"
)

// ErrSocketTaken says that another process serves on a Unix socket.
var ErrSocketTaken = errors.New("another process serves there: stop it, or choose another path")

// ListenTCP listens on a TCP address, "host:port" or "host" with NBD's port. An address that other machines reach is
// refused with ErrNeedsTLS, unless config demands certificates from clients; it is refused before anything listens.
func ListenTCP(ctx context.Context, address string, config *tls.Config) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, wire.DefaultPort)
	}
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if err := mayListen(addr, config); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr.String()) // the address that was looked at, not its name
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// answers reports whether a process serves on a Unix socket. An error says that this is unknown.
func answers(ctx context.Context, path string) (bool, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		return true, c.Close()
	}
	if isRefused(err) {
		return false, nil
	}
	return false, fmt.Errorf("ask who serves on %s: %w", path, err)
}
