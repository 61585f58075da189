//go:build unix

package nbd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "platter/snapshot/image/nbd"
	"platter/snapshot/image/nbd/wire"
	"platter/snapshot/image/oracle"
)

// An authority signs certificates. Its files are named as libnbd wants them.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca-cert", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes NAME.pem and its key. The CA signs itself.
func (a *authority) sign(t *testing.T, name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		a.file(name): {Type: "CERTIFICATE", Bytes: der}, a.keyFile(name): {Type: "PRIVATE KEY", Bytes: pkcs},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name+".pem") }
func (a *authority) keyFile(name string) string {
	return filepath.Join(a.dir, strings.TrimSuffix(name, "-cert")+"-key.pem")
}

func (a *authority) server(t *testing.T) {
	a.sign(t, "server-cert", &x509.Certificate{
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	})
}

func (a *authority) client(t *testing.T) {
	a.sign(t, "client-cert", &x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	})
}

// TestTLS serves over TCP on every address of this machine, to clients with the right certificate only.
func TestTLS(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	ours.server(t)
	ours.client(t)
	others.server(t)
	others.client(t)
	config, err := ServerTLS(ours.file("server-cert"), ours.keyFile("server-cert"), ours.file("ca-cert"))
	if err != nil {
		t.Fatal(err)
	}
	data := patchy(mathrand.New(mathrand.NewPCG(8, 8)), 3<<20)
	l, err := ListenTCP(t.Context(), "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	serveOn(t, l, shelf{"d": {Disk: newRAM(data)}}, Options{TLS: config})

	good := client.Options{CA: ours.file("ca-cert"), Cert: ours.file("client-cert"), Key: ours.keyFile("client-cert")}
	d, err := client.Open(t.Context(), "nbds://"+address+"/d", good)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	compare(t, d, data, 0, len(data))
	compareExtents(t, d, data, 0, int64(len(data)))

	for name, tc := range map[string]struct {
		uri string
		o   client.Options
	}{
		"plain text":               {"nbd://" + address + "/d", client.Options{}},
		"no certificate":           {"nbds://" + address + "/d", client.Options{CA: good.CA}},
		"a certificate of others":  {"nbds://" + address + "/d", client.Options{CA: good.CA, Cert: others.file("client-cert"), Key: others.keyFile("client-cert")}},
		"a server's certificate":   {"nbds://" + address + "/d", client.Options{CA: good.CA, Cert: ours.file("server-cert"), Key: ours.keyFile("server-cert")}},
		"a server of others":       {"nbds://" + address + "/d", client.Options{CA: others.file("ca-cert"), Cert: good.Cert, Key: good.Key}},
		"a server of another name": {"nbds://" + address + "/d?tls-hostname=example.com", good},
		"no such export":           {"nbds://" + address + "/x", good},
	} {
		if d, err := client.Open(t.Context(), tc.uri, tc.o); err == nil {
			d.Close()
			t.Errorf("%s: the export opens", name)
		}
	}
	raw := filepath.Join(t.TempDir(), "raw")
	oracle.Run(t, "nbdcopy", "nbds://"+address+"/d?tls-certificates="+ours.dir, raw)
	same(t, "nbdcopy over TLS", raw, data)
}

// TestTLSFirst asks for things before TLS.
func TestTLSFirst(t *testing.T) {
	ours := newAuthority(t)
	ours.server(t)
	config, err := ServerTLS(ours.file("server-cert"), ours.keyFile("server-cert"), ours.file("ca-cert"))
	if err != nil {
		t.Fatal(err)
	}
	path := serve(t, shelf{"d": {Disk: newRAM(make([]byte, 10))}}, Options{TLS: config})
	c := connect(t, path, bothFlags)
	for _, o := range []wire.Option{wire.OptList, wire.OptInfo, wire.OptGo, wire.OptStructuredReply, wire.OptSetMetaContext, 99} {
		c.expect(wire.RepErrTLSRequired, o)
	}
	c.expect(wire.RepErrInvalid, wire.OptStartTLS, "data")
	c.expect(wire.RepAck, wire.OptAbort)
	c.gone()
	c = connect(t, path, bothFlags)
	c.write(wire.OptionHeader{Option: wire.OptExportName, Len: 1}.Append(nil), "d")
	c.gone()
	// An option in plain text that waits behind STARTTLS must not count as one that came over TLS.
	c = connect(t, path, bothFlags)
	c.write(wire.OptionHeader{Option: wire.OptStartTLS}.Append(nil), wire.OptionHeader{Option: wire.OptList}.Append(nil))
	c.gone()

	if _, err := ServerTLS(ours.file("server-cert"), ours.keyFile("ca-cert"), ours.file("ca-cert")); err == nil {
		t.Error("the key of another certificate is accepted")
	}
	if _, err := ServerTLS(ours.file("server-cert"), ours.keyFile("server-cert"), ours.keyFile("ca-cert")); err == nil {
		t.Error("a CA without certificate is accepted")
	}
	withoutClients := config.Clone()
	withoutClients.ClientAuth = 0
	if _, err := ListenTCP(t.Context(), "0.0.0.0:0", withoutClients); err == nil {
		t.Error("the network is served to clients without certificates")
	}
}
