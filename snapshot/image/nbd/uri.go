package nbd

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"platter/snapshot/image/nbd/wire"
)

// A target is an export as a URI names it.
type target struct {
	network, address string
	name             string
	secure           bool
	host             string      // that the server's certificate names
	certificates     string      // the folder that the URI names; "" for none
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

// Place returns the one URI of an export among all that name it: without the default port and without certificates, and with
// an absolute path of a socket.
func Place(uri string) (string, error) {
	t, err := parseURI(uri)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "nbd", Path: "/" + t.name}
	if t.secure {
		u.Scheme = "nbds"
	}
	if t.network == "unix" {
		socket, err := filepath.Abs(t.address)
		if err != nil {
			return "", fmt.Errorf("socket of %s: %w", uri, err)
		}
		u.Scheme, u.RawQuery = u.Scheme+"+unix", "socket="+EscapeSocket(socket)
		return u.String(), nil
	}
	host, port, err := net.SplitHostPort(strings.ToLower(t.address))
	if err != nil {
		return "", err // parseURI joined them
	}
	if u.Host = net.JoinHostPort(host, port); port == wire.DefaultPort {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.String(), nil
}

// Socket returns the path of the Unix socket in a URI; "" if there is none.
func Socket(uri string) string {
	t, err := parseURI(uri)
	if err != nil || t.network != "unix" {
		return ""
	}
	return t.address
}

// DiskName returns a short name for an export: the last part of its own name, or what the server is called.
func DiskName(uri string) string {
	t, err := parseURI(uri)
	switch {
	case err != nil:
		return path.Base(uri)
	case strings.Trim(t.name, "/") != "":
		return path.Base(t.name)
	case t.network == "unix":
		return filepath.Base(t.address)
	}
	host, _, _ := net.SplitHostPort(t.address) // parseURI joined them
	return strings.ToLower(host)
}

// EscapeSocket writes the path of a socket as the query of a URI has it. Other clients do not take + for a blank.
func EscapeSocket(path string) string {
	return strings.NewReplacer("%2F", "/", "+", "%20").Replace(url.QueryEscape(path))
}

// parseURI reads an NBD URI, as doc/uri.md of the protocol describes it.
func parseURI(text string) (*target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err // it names the URI
	}
	shown := u.Redacted()
	query, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B")) // a + is no blank
	if err != nil {
		return nil, fmt.Errorf("URI %s: %w", shown, err)
	}
	if !IsURI(text) || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("URI %s: want nbd://HOST[:PORT]/NAME or nbd+unix:///NAME?socket=PATH, without a user or a #", shown)
	}
	t := &target{network: "tcp", name: strings.TrimPrefix(u.Path, "/"), secure: strings.HasPrefix(u.Scheme, "nbds"), host: u.Hostname()}
	port := u.Port()
	if t.host == "" {
		t.host = "localhost"
	}
	if port == "" {
		port = wire.DefaultPort
	}
	t.address = net.JoinHostPort(t.host, port)
	if strings.HasSuffix(u.Scheme, "+unix") {
		if t.network, t.address = "unix", query.Get("socket"); t.address == "" || u.Host != "" {
			return nil, fmt.Errorf("URI %s: want nbd+unix:///NAME?socket=PATH", shown)
		}
		query.Del("socket")
	}
	t.takeTLS(query)
	for key := range query {
		return nil, fmt.Errorf("URI %s: platter does not know, or cannot do, %s=%s", shown, key, query.Get(key))
	}
	if err := wire.CheckName(t.name); err != nil {
		return nil, fmt.Errorf("URI %s: %w", shown, err)
	}
	return t, nil
}

// takeTLS takes what concerns TLS out of the query of a URI.
func (t *target) takeTLS(query url.Values) {
	if !t.secure {
		return
	}
	if hostname := query.Get("tls-hostname"); hostname != "" {
		t.host = hostname
		query.Del("tls-hostname")
	}
	if folder := query.Get("tls-certificates"); folder != "" {
		t.certificates = folder
		query.Del("tls-certificates")
	}
	if query.Get("tls-type") == "x509" {
		query.Del("tls-type")
	}
}
