package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/image/nbd"
)

// nbdSourceOptions say how to reach a source that is an NBD export.
type nbdSourceOptions struct {
	connections int
	tls         tlsFiles
}

// maxConnections is more than any server gains from.
const maxConnections = 64

func nbdSourceFlags(o *nbdSourceOptions) []cli.Flag {
	const category = "For an NBD export:"
	return []cli.Flag{
		&cli.IntFlag{Name: "connections", Usage: "read over `N` connections, if the server allows several", Value: 4, Category: category, Destination: &o.connections},
		&cli.StringFlag{Name: "tls-ca", Usage: "PEM `FILE` with the CA that signed the server's certificate (nbds://)", DefaultText: "ca-cert.pem in the URI's tls-certificates=FOLDER or in ~/.pki/libnbd, or the system's CAs", TakesFile: true, Category: category, Destination: &o.tls.ca},
		&cli.StringFlag{Name: "tls-cert", Usage: "PEM `FILE` with the certificate to show the server", DefaultText: "client-cert.pem in that folder", TakesFile: true, Category: category, Destination: &o.tls.cert},
		&cli.StringFlag{Name: "tls-key", Usage: "PEM `FILE` with its key", DefaultText: "client-key.pem in that folder", TakesFile: true, Category: category, Destination: &o.tls.key},
	}
}

func (o nbdSourceOptions) validate(source string) error {
	switch {
	case o.connections < 1 || o.connections > maxConnections:
		return usagef("--connections %d: give a number from 1 to %d", o.connections, maxConnections)
	case o.tls != (tlsFiles{}) && !nbd.IsURI(source):
		return usagef("--tls-ca, --tls-cert and --tls-key are for an NBD export (nbds://)")
	case (o.tls.cert == "") != (o.tls.key == ""):
		return usagef("--tls-cert and --tls-key go together")
	}
	return nil
}

// hintAtNBD adds to the refusal of a place on another machine how to read a disk there.
func hintAtNBD(err error, path string) error {
	first, _, _ := strings.Cut(path, "/")
	if usage, ok := errors.AsType[*usageError](err); ok && strings.Contains(first, ":") {
		return usagef("%s. Or let an NBD server export the disk, and give nbd://HOST[:PORT]/NAME or nbd+unix:///NAME?socket=PATH", usage.problem)
	}
	return err
}

// openNBD opens an NBD export, and records in s where it is from. What the URI says of certificates is not recorded.
func openNBD(ctx context.Context, env *env, opts backupOptions, uri string, s *snapshot.Snapshot) (*source, error) {
	known, err := readRescueMap(opts.failing.rescueMap)
	if err != nil {
		return nil, err
	}
	disk, err := nbd.Open(ctx, uri, nbd.Options{
		Connections: opts.nbd.connections, CA: opts.nbd.tls.ca, Cert: opts.nbd.tls.cert, Key: opts.nbd.tls.key,
		Folders: certificateFolders(env),
	})
	if err != nil {
		return nil, err
	}
	src := &source{
		path: s.Source.Path, disk: disk, kind: nbd.Kind, Closer: disk, known: known, mapPath: opts.failing.rescueMap,
		retry: image.RetryOptions{Strict: opts.failing.strict, Longest: opts.failing.retry},
	}
	holes := "its holes are not read"
	if !disk.KnowsHoles() {
		holes = "the server does not say where holes are, so everything is read"
	}
	env.detail(opts.common, "%s: %s; %s", src.path, count(disk.Connections(), "connection"), holes)
	src.warnOfContainer(env, opts)
	if err := src.ready(); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	s.Source.Kind, s.Source.Place = src.kind, s.Source.Path
	return src, nil
}

// certificateFolders are where libnbd looks for certificates.
func certificateFolders(env *env) (folders []string) {
	if home := env.getenv("HOME"); home != "" {
		folders = append(folders, filepath.Join(home, ".pki", "libnbd"), filepath.Join(home, ".config", "pki", "libnbd"))
	}
	return append(folders, filepath.Join(string(os.PathSeparator), "etc", "pki", "libnbd"))
}
