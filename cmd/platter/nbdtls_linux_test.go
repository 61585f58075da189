package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// makeCertificates makes a folder of certificates as libnbd and nbdkit want it. One certificate is CA, server and client.
func makeCertificates(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	cert, secret := pem.Block{Type: "CERTIFICATE", Bytes: der}, pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}
	for name, block := range map[string]*pem.Block{
		"ca-cert.pem": &cert, "server-cert.pem": &cert, "server-key.pem": &secret, "client-cert.pem": &cert, "client-key.pem": &secret,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNBDTLS reads from servers that demand a certificate, which is given by flags, by the URI or in the folders of libnbd.
func TestNBDTLS(t *testing.T) {
	s := newSite(t)
	pki, others := s.path("home/.pki/libnbd"), s.path("others")
	makeCertificates(t, pki)
	makeCertificates(t, others)
	disk := s.disk("disk", 1<<20, 1, "random")
	serveNBD(t, s.path("s"), "nbdkit", "--tls=require", "--tls-certificates="+pki, "--tls-verify-peer", "file", disk)
	uri := "nbds+unix:///?socket=" + s.path("s")
	flags := func(ca, client string) []string {
		args := []string{"--tls-ca", filepath.Join(ca, "ca-cert.pem")}
		if client != "" {
			args = append(args, "--tls-cert", filepath.Join(client, "client-cert.pem"), "--tls-key", filepath.Join(client, "client-key.pem"))
		}
		return args
	}
	for _, tc := range []struct {
		name string
		home string
		args []string
		code int
		says string
	}{
		{"by flags", "nowhere", append(flags(pki, pki), uri), 0, ""},
		{"by the URI", "nowhere", []string{uri + "&tls-certificates=" + pki}, 0, ""},
		{"by the home folder", "home", []string{uri}, 0, ""},
		{"none", "nowhere", []string{uri}, 1, "certificate"},
		{"another host", "home", []string{uri + "&tls-hostname=other"}, 1, "not other"},
		{"another CA", "home", append(flags(others, pki), uri), 1, "certificate"},
		{"another client", "home", append(flags(pki, others), uri), 1, "open " + uri},
		{"no client", "home", append(flags(pki, ""), uri), 1, "open " + uri},
		{"plain", "home", []string{"nbd+unix:///?socket=" + s.path("s")}, 1, "the server demands TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := s.command(append([]string{"backup", "--name", "disk"}, tc.args...)...)
			p.t, p.Env = t, append(p.Env, "HOME="+s.path(tc.home))
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			p.ends(tc.code, tc.says)
		})
	}
	var kept []snapshotJSON
	s.query(&kept, "snapshots")
	if len(kept) != 3 || kept[1].Source.Place != uri {
		t.Errorf("%d versions: %+v", len(kept), kept)
	}
	s.restores("disk", disk)
}

// TestNBDOfPlatter backs up what platter serves: the copy of a version has the same map.
func TestNBDOfPlatter(t *testing.T) {
	s := newSite(t)
	pki := s.path("pki")
	makeCertificates(t, pki)
	var was, now snapshotJSON
	s.query(&was, "backup", makeRealDisk(t, s, 2), "--name", "disk")
	at := func(name string) string { return filepath.Join(pki, name) }
	for name, args := range map[string][]string{
		"unix": nil,
		"tcp":  {"--listen", "127.0.0.1:0"},
		"tls":  {"--listen", "127.0.0.1:0", "--tls-cert", at("server-cert.pem"), "--tls-key", at("server-key.pem"), "--tls-ca", at("ca-cert.pem")},
	} {
		uri := `"$uri"`
		if name == "tls" {
			uri = `"$uri?tls-hostname=localhost&tls-certificates=` + pki + `"`
		}
		again := "PLATTER_PASSWORD=secret " + s.program + " backup " + uri + " --quiet --name " + name
		s.must(append([]string{"nbd", "disk", "--run", again}, args...)...)
		s.query(&now, "show", name)
		if now.Root != was.Root || now.Stats.Stored > 4096 || now.Source.Kind != "nbd" {
			t.Errorf("%s: root %v, want %v; %d bytes were stored, kind %q", name, now.Root, was.Root, now.Stats.Stored, now.Source.Kind)
		}
	}
	s.must("nbd", "--run", `PLATTER_PASSWORD=secret `+s.program+` backup "nbd+unix:///disk:p1?${uri#*\?}" --quiet --name part`)
	s.must("restore", "disk:p1", s.path("p1"))
	s.restores("part", s.path("p1"))
}
