package nbd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"platter/snapshot/image/nbd/wire"
)

// A target is an export as a URI names it.
type target struct {
	network, address string
	name             string
	tls              *tls.Config // nil: plain text
}

// IsURI reports whether a text begins as the URI of an NBD export does.
func IsURI(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	switch strings.ToLower(scheme) {
	case "nbd", "nbds", "nbd+unix", "nbds+unix":
		return ok
	}
	return false
}

// parseURI reads an NBD URI, as doc/uri.md of the protocol describes it.
func parseURI(text string, o Options) (*target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err // it names the URI
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("URI %s: %w", text, err)
	}
	if !IsURI(text) || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("URI %s: want nbd://HOST[:PORT]/NAME or nbd+unix:///NAME?socket=PATH, without a user or a #", text)
	}
	secure := strings.HasPrefix(u.Scheme, "nbds")
	t := &target{network: "tcp", name: strings.TrimPrefix(u.Path, "/")}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = wire.DefaultPort
	}
	t.address = net.JoinHostPort(host, port)
	if strings.HasSuffix(u.Scheme, "+unix") {
		if t.network, t.address = "unix", query.Get("socket"); t.address == "" || u.Host != "" {
			return nil, fmt.Errorf("URI %s: want nbd+unix:///NAME?socket=PATH", text)
		}
		query.Del("socket")
	}
	if hostname := query.Get("tls-hostname"); hostname != "" && secure {
		host = hostname
		query.Del("tls-hostname")
	}
	if secure && query.Get("tls-type") == "x509" {
		query.Del("tls-type")
	}
	for key := range query {
		return nil, fmt.Errorf("URI %s: platter does not know, or cannot do, %s=%s", text, key, query.Get(key))
	}
	if err := wire.CheckName(t.name); err != nil {
		return nil, fmt.Errorf("URI %s: %w", text, err)
	}
	if secure {
		if t.tls, err = clientTLS(host, o); err != nil {
			return nil, err
		}
	} else if o.CA != "" || o.Cert != "" || o.Key != "" {
		return nil, fmt.Errorf("URI %s: certificates are of use only with nbds:// or nbds+unix://", text)
	}
	return t, nil
}

// clientTLS returns how to trust a server, and what to show it.
func clientTLS(host string, o Options) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("CA of the NBD server: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA of the NBD server: %s has no certificate in PEM form", o.CA)
		}
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("client certificate: give both the certificate and its key")
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
