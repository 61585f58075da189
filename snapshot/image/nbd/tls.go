package nbd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files in a folder of certificates, as libnbd and QEMU name them.
const (
	caFile   = "ca-cert.pem"
	certFile = "client-cert.pem" // optional, with its key
	keyFile  = "client-key.pem"
)

// trust finds out how to trust the server, and what to show it.
func (t *target) trust(o Options) (err error) {
	given := o.CA != "" || o.Cert != "" || o.Key != ""
	switch {
	case !t.secure && given:
		return errors.New("certificates are of use only with nbds:// or nbds+unix://")
	case !t.secure:
		return nil
	case given:
	case t.certificates != "":
		if o, err = inFolder(t.certificates); err != nil {
			return err
		}
	default:
		for _, folder := range o.Folders {
			found, err := inFolder(folder)
			if err == nil {
				o = found
				break
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	t.tls, err = clientTLS(t.host, o)
	return err
}

// inFolder returns the files in a folder of certificates. The error wraps fs.ErrNotExist if it has no CA.
func inFolder(folder string) (o Options, err error) {
	o.CA = filepath.Join(folder, caFile)
	if _, err := os.Stat(o.CA); err != nil {
		return o, fmt.Errorf("certificates: %w", err)
	}
	o.Cert, o.Key = filepath.Join(folder, certFile), filepath.Join(folder, keyFile)
	if _, err := os.Stat(o.Cert); errors.Is(err, fs.ErrNotExist) {
		o.Cert, o.Key = "", ""
	}
	return o, nil
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
