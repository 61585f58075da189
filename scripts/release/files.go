package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A file is one file of an archive.
type file struct {
	name string // slashes, relative to the archive's folder
	mode fs.FileMode
	data []byte
}

// Names in an archive that packages treat in a way of their own.
const (
	manName     = "platter.1"
	licenceName = "LICENSE"
	bashName    = "completions/platter.bash"
	zshName     = "completions/_platter"
	fishName    = "completions/platter.fish"
	sbomName    = "sbom.cdx.json"
)

func sorted(files []file) []file {
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	return files
}

// documents returns the files that all platforms share. It builds a program for this machine at the path host, which
// prints the manual page and the completion scripts.
func documents(ctx context.Context, src *source, host string) ([]file, error) {
	var files []file
	if runtime.GOOS == "windows" {
		host += ".exe"
	}
	if _, err := output(ctx, src.dir, src.env, "go", "build", "-o", host, "./cmd/platter"); err != nil {
		return nil, err
	}
	for name, args := range map[string][]string{
		manName:  {"man"},
		bashName: {"completion", "bash"},
		zshName:  {"completion", "zsh"},
		fishName: {"completion", "fish"},
	} {
		text, err := output(ctx, "", nil, host, args...)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("platter %s prints nothing", strings.Join(args, " "))
		}
		files = append(files, file{name, 0o644, []byte(text + "\n")})
	}
	// The copy of the commit holds nothing but the commit's files.
	names := []string{licenceName, "README.md", "CHANGELOG.md"}
	err := filepath.WalkDir(filepath.Join(src.dir, "docs"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(src.dir, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(src.dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, 0o644, data})
	}
	return files, nil
}

// programFiles returns the files that differ between platforms: the program, the list of its modules, and their licences.
func programFiles(ctx context.Context, src *source, p platform, program string) ([]file, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	sbom, err := makeSBOM(info, data, src.time)
	if err != nil {
		return nil, err
	}
	dirs, err := moduleDirs(ctx, src, p)
	if err != nil {
		return nil, err
	}
	licences, err := licenceTexts(info, dirs)
	if err != nil {
		return nil, err
	}
	return []file{
		{p.program(), 0o755, data},
		{sbomName, 0o644, sbom},
		{"THIRD-PARTY-LICENSES.txt", 0o644, licences},
	}, nil
}

// moduleDirs returns the folder of each module that the program uses, by the module's path.
func moduleDirs(ctx context.Context, src *source, p platform) (map[string]string, error) {
	text, err := output(ctx, src.dir, src.envFor(p), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Dir}}{{end}}", "./cmd/platter")
	if err != nil {
		return nil, err
	}
	dirs := make(map[string]string)
	for line := range strings.Lines(text) {
		if module, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			dirs[module] = dir
		}
	}
	return dirs, nil
}

// licenceTexts joins the licences of all modules in a program: most of them demand to be passed on with it.
func licenceTexts(info *buildinfo.BuildInfo, dirs map[string]string) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "The program contains the Go standard library (%s), under the licence of golang.org/x/sys below, and these modules.\n", info.GoVersion)
	for _, m := range info.Deps {
		if dirs[m.Path] == "" {
			return nil, fmt.Errorf("module %s has no folder", m.Path)
		}
		found, err := licenceFiles(dirs[m.Path])
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("module %s has no licence: it cannot be passed on", m.Path)
		}
		for _, name := range found {
			text, err := os.ReadFile(filepath.Join(dirs[m.Path], name))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, name, strings.TrimSpace(string(text)))
		}
	}
	if dirs["golang.org/x/sys"] == "" {
		return nil, errors.New("golang.org/x/sys, whose licence is also that of the standard library, is not in the program")
	}
	return []byte(b.String()), nil
}

// licenceFiles returns the names of the licences and notices in a module's top folder, sorted.
func licenceFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		stem := strings.ToUpper(strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
		if ext := path.Ext(e.Name()); e.IsDir() || ext == ".go" {
			continue
		}
		for _, want := range []string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"} {
			if stem == want || strings.HasPrefix(stem, want+"-") {
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}
