// Command release builds what users download: a static program for every platform, in an archive with its documentation, Debian and
// RPM packages for Linux, a list of the modules in each program, and the checksums of all of these.
//
// The same commit, version and Go release always produce the same bytes. So release builds a clean copy of the
// commit, takes every time from the commit, and hides the environment and the settings of the machine from the compiler.
//
// It is a module of its own, so that what it needs stays out of platter's go.mod.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"

	"golang.org/x/sync/errgroup"
)

func main() {
	out := flag.String("out", "dist", "the folder for the release's files, relative to the repository's top; its contents are replaced")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: release [-out FOLDER] VERSION, for example v1.2.3")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// wantVersion is what Go accepts as a tag of a module, without build metadata.
var wantVersion = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

func run(ctx context.Context, out string, args []string) error {
	if len(args) != 1 || !wantVersion.MatchString(args[0]) {
		return errors.New("give one version, as in: make release VERSION=v1.2.3 (or v1.2.3-rc.1)")
	}
	version := args[0]
	work, err := os.MkdirTemp("", "platter-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	top, err := output(ctx, "", nil, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	if !filepath.IsAbs(out) {
		out = filepath.Join(top, out)
	}
	src, err := checkOut(ctx, top, filepath.Join(work, "src"), version)
	if err != nil {
		return err
	}
	shared, err := documents(ctx, src, filepath.Join(work, "host"))
	if err != nil {
		return err
	}
	if err := empty(out); err != nil {
		return err
	}
	if err := everyPlatform(ctx, src, shared, work, out); err != nil {
		return err
	}
	if err := writeSums(out); err != nil {
		return err
	}
	fmt.Printf("platter %s, commit %s, %s: %s\n", version, src.commit, src.goVersion, out)
	return nil
}

// everyPlatform writes the files of all platforms to the folder out, several platforms at a time.
func everyPlatform(ctx context.Context, src *source, shared []file, work, out string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for _, p := range platforms {
		group.Go(func() error {
			if err := onePlatform(ctx, src, shared, p, filepath.Join(work, p.String()), out); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func onePlatform(ctx context.Context, src *source, shared []file, p platform, work, out string) error {
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	program := filepath.Join(work, p.program())
	if err := src.build(ctx, p, program); err != nil {
		return err
	}
	own, err := programFiles(ctx, src, p, program)
	if err != nil {
		return err
	}
	files := sorted(append(own, shared...))
	base := filepath.Join(out, src.baseName(p))
	if err := writeArchive(base, p, files, src.time); err != nil {
		return err
	}
	for _, f := range files {
		if f.name == sbomName {
			if err := os.WriteFile(base+".cdx.json", f.data, 0o644); err != nil {
				return err
			}
		}
	}
	if p.os != "linux" {
		return nil
	}
	return writePackages(out, work, src, p, files)
}

// empty makes the folder and deletes what an earlier release left there.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// A wrong -out must not cost anyone a folder of other files.
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, sumsName)); err != nil {
			return fmt.Errorf("%s has files but no %s, so it is not an earlier release: empty it or name another folder", dir, sumsName)
		}
	}
	for _, e := range entries {
		// The list goes last, so that an interrupted deletion can be taken up again.
		if e.Name() != sumsName {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// The empty list marks the folder as a release's until the full list replaces it.
	return os.WriteFile(filepath.Join(dir, sumsName), nil, 0o644)
}
