package nbd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// ErrNeedsTLS says that an address can be reached from other machines, and that clients would not be asked who they are.
var ErrNeedsTLS = errors.New("other machines reach this address: give a server certificate and the CA of the clients' " +
	"certificates, or listen on 127.0.0.1 or a Unix socket")

// ServerTLS returns how to serve with a certificate and its key, to clients whose certificates the CA in clientCA signed.
// All three are PEM files. TLS is 1.2 or newer.
func ServerTLS(cert, key, clientCA string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	pem, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("CA of the clients: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA of the clients: %s has no certificate in PEM form", clientCA)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS12,
	}, nil
}
