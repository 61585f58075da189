package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"platter/snapshot"
	client "platter/snapshot/image/nbd"
	"platter/snapshot/image/nbd/wire"
	"platter/snapshot/serve/nbd"
)

type nbdOptions struct {
	common
	servingOptions
	socket, listen string
	tls            tlsFiles
}

// tlsFiles are PEM files.
type tlsFiles struct{ cert, key, ca string }

func nbdCommand(env *env) *cli.Command {
	var opts nbdOptions
	return &cli.Command{
		Name:      "nbd",
		Usage:     "serve versions as network block devices, without restoring them",
		ArgsUsage: "[SNAPSHOT]",
		Category:  aboutDisks,
		Description: "Prints a URI for NBD clients, and serves until Ctrl-C. With that URI, nbdcopy and qemu-img copy the disk, nbdfuse shows it as a file without root, " +
			"and QEMU uses it as a disk. nbd-client makes a device of it.\n\n" +
			"With SNAPSHOT, the default export is that version, and the exports p1, p2 and so on are its partitions. Without SNAPSHOT, each version is an export: " +
			"laptop, laptop~1, laptop:p3, and whatever else names a version or a part of it. 'nbdinfo --list' lists them by ID.\n\n" +
			"The server listens on a Unix socket that only you can open. With --listen it listens on TCP. On 127.0.0.1 and ::1, any user of this machine can read the disks. " +
			"On every other address, it demands TLS and a certificate from each client.\n\n" +
			"With --writable, clients may write. The stored version never changes: what is written goes to an overlay, which is discarded at the end, " +
			"kept in a file (--overlay), or stored as a new version (--save). Both imply --writable.\n\n" + aboutSnapshotArgument + " " + aboutPartArgument,
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "socket", Usage: "listen on a Unix socket at `PATH`", DefaultText: "a new one in $XDG_RUNTIME_DIR or the folder for temporary files", TakesFile: true, Destination: &opts.socket},
			&cli.StringFlag{Name: "listen", Usage: "listen on TCP at `ADDRESS`, such as 127.0.0.1 or :10809", Destination: &opts.listen},
			&cli.StringFlag{Name: "tls-cert", Usage: "PEM `FILE` with the server's certificate", TakesFile: true, Destination: &opts.tls.cert},
			&cli.StringFlag{Name: "tls-key", Usage: "PEM `FILE` with the key of the server's certificate", TakesFile: true, Destination: &opts.tls.key},
			&cli.StringFlag{Name: "tls-ca", Usage: "PEM `FILE` with the CA that signed the clients' certificates", TakesFile: true, Destination: &opts.tls.ca},
			&cli.StringFlag{Name: "run", Usage: "run `COMMAND`, which finds the URI in $uri, and end when it ends", Destination: &opts.run},
		}, servingFlags(&opts.servingOptions, "let clients write to the disks")...), repoFlags(&opts.common)...),
		Action: action(env, &opts, runNBD),
	}
}

func runNBD(ctx context.Context, env *env, opts nbdOptions, args []string) error {
	spec, err := optionalArg(args, "SNAPSHOT")
	if err != nil {
		return err
	}
	if err := opts.check(spec != ""); err != nil {
		return err
	}
	config, err := opts.tls.config()
	if err != nil {
		return err
	}
	if opts.listen != "" && opts.socket != "" {
		return usagef("--listen and --socket contradict each other: give only one of them")
	}
	s, err := openServing(ctx, env, opts.common, opts.servingOptions, spec, nil)
	if err != nil {
		return err
	}
	l, uri, err := opts.listener(ctx, config)
	if err != nil {
		return s.end(ctx, err)
	}
	env.patient.Store(true) // replies under way, and what was written
	if err := s.printURI(opts, uri); err != nil {
		return s.end(ctx, errors.Join(err, l.Close()))
	}
	s.served = true
	return s.end(ctx, s.nbd(ctx, opts, l, config, uri))
}

// nbd serves until ctx ends, or with --run until the command has ended: it may have writes to flush.
func (s *serving) nbd(ctx context.Context, opts nbdOptions, l net.Listener, config *tls.Config, uri string) error {
	o := nbd.Options{TLS: config, Failed: func(export string, err error) {
		s.env.warn(s.c, "%s: %v", cmp.Or(export, "the default export"), err)
	}}
	if opts.run == "" {
		s.env.info(s.c, "Ctrl-C ends it")
		return nbd.Serve(ctx, l, &nbdExports{s}, o)
	}
	sctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ran := make(chan error, 1)
	go func() {
		defer stop()
		ran <- s.runBeside(ctx, opts.run, "uri="+uri, "PLATTER_NBD_URI="+uri)
	}()
	err := nbd.Serve(sctx, l, &nbdExports{s}, o)
	return errors.Join(err, <-ran)
}

// optionalArg returns the only argument; "" if there is none.
func optionalArg(args []string, name string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	if err := wantArgs(args, name); err != nil {
		return "", err
	}
	if args[0] == "" {
		return "", usagef("%s is empty", name)
	}
	return args[0], nil
}

// config returns how to serve with TLS; nil for not at all.
func (t tlsFiles) config() (*tls.Config, error) {
	if t == (tlsFiles{}) {
		return nil, nil
	}
	if t.cert == "" || t.key == "" || t.ca == "" {
		return nil, usagef("--tls-cert, --tls-key and --tls-ca go together")
	}
	return nbd.ServerTLS(t.cert, t.key, t.ca)
}

// listener listens, and returns the URI for clients.
func (o nbdOptions) listener(ctx context.Context, config *tls.Config) (net.Listener, string, error) {
	if o.listen == "" {
		path, err := socketPath(o.socket)
		if err != nil {
			return nil, "", err
		}
		if outsideOf(o.repo, path) != nil {
			return nil, "", fmt.Errorf("listen on %s: it is in the folder of the repository; choose another place", path)
		}
		l, err := nbd.ListenUnix(ctx, path)
		if err != nil {
			return nil, "", err
		}
		scheme := "nbd+unix"
		if config != nil {
			scheme = "nbds+unix"
		}
		return l, scheme + ":///?socket=" + client.EscapeSocket(path), nil
	}
	l, err := nbd.ListenTCP(ctx, o.listen, config)
	if errors.Is(err, nbd.ErrNeedsTLS) {
		return nil, "", fmt.Errorf("--listen %s: %w (--tls-cert, --tls-key, --tls-ca)", o.listen, err)
	}
	if err != nil {
		return nil, "", err
	}
	scheme := "nbd"
	if config != nil {
		scheme = "nbds"
	}
	return l, scheme + "://" + l.Addr().String() + "/", nil
}

// socketPath returns the absolute path of a socket. Without a wish, it is a new one in the user's folder for such files.
func socketPath(wish string) (string, error) {
	if wish != "" {
		return filepath.Abs(wish)
	}
	folder := cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), os.TempDir())
	return filepath.Join(folder, fmt.Sprintf("platter-%d.sock", os.Getpid())), nil
}

func (s *serving) printURI(opts nbdOptions, uri string) error {
	if opts.run != "" {
		return nil // standard output is the command's
	}
	if opts.json {
		return s.env.printJSON(s.begun(map[string]string{"uri": uri}))
	}
	fmt.Fprintln(s.env.stdout, uri)
	return s.env.stdout.err
}

// nbdExports are the exports of a serving.
type nbdExports struct{ s *serving }

var _ nbd.Exports = (*nbdExports)(nil)

// maxListed is how many versions a list has, the newest. Clients refuse lists without end, and the names of all others work
// too.
const maxListed = 1000

// List lists SNAPSHOT and its partitions, or all versions and theirs.
func (x *nbdExports) List(ctx context.Context) (list []wire.Listed, err error) {
	if one := x.s.one; one != nil {
		list = append(list, wire.Listed{Description: describeExport(one, x.s.part.Name)})
		if x.s.part.Name == "" {
			for _, p := range parts(one) {
				list = append(list, wire.Listed{Name: p.Name, Description: describePart(one, p)})
			}
		}
		return list, nil
	}
	all, err := x.s.catalog.Snapshots(ctx)
	if len(all) == 0 {
		return nil, err
	}
	for _, v := range all[max(0, len(all)-maxListed):] {
		list = append(list, wire.Listed{Name: shortID(v.ID), Description: describeExport(v, "")})
		for _, p := range parts(v) {
			list = append(list, wire.Listed{Name: shortID(v.ID) + ":" + p.Name, Description: describePart(v, p)})
		}
	}
	return list, nil
}

func describeExport(v *snapshot.Snapshot, part string) string {
	return strings.TrimSpace(printable(fmt.Sprintf("%s, %s %s", v.Name, localTime(v.Time), part)))
}

func describePart(v *snapshot.Snapshot, p servedPart) string {
	return strings.TrimSpace(printable(fmt.Sprintf("%s, %s %s: %s %s", v.Name, localTime(v.Time), p.Name, p.kind, p.label)))
}

// Open opens an export by its name.
func (x *nbdExports) Open(ctx context.Context, name string) (*nbd.Export, error) {
	v, part, err := x.find(ctx, name)
	if err != nil {
		return nil, err
	}
	disk, writable, err := x.s.open(ctx, v, part)
	if err != nil {
		return nil, err
	}
	e := &nbd.Export{Disk: disk, Writable: writable, Description: describeExport(v, part.Name)}
	if c, ok := disk.(interface{ Close() error }); ok {
		e.Close = c.Close
	}
	return e, nil
}

// find returns what the name of an export means.
func (x *nbdExports) find(ctx context.Context, name string) (*snapshot.Snapshot, snapshot.Part, error) {
	if one := x.s.one; one != nil {
		if name == "" {
			return one, x.s.part, nil
		}
		for _, p := range parts(one) {
			if p.Name == name && x.s.part.Name == "" {
				return one, p.Part, nil
			}
		}
		return nil, snapshot.Part{}, fmt.Errorf("export %q: %w", name, fs.ErrNotExist)
	}
	all, err := x.s.catalog.Snapshots(ctx)
	if err != nil && len(all) == 0 {
		return nil, snapshot.Part{}, err
	}
	found, err := snapshot.ReadPart(ctx, x.s.repo, all, name, x.s.env.now())
	if err != nil {
		return nil, snapshot.Part{}, fmt.Errorf("export %q: %w (%w)", name, fs.ErrNotExist, err)
	}
	return found.Snapshot, found.Part, nil
}
