package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers itself
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers itself
)

const description = `backups of whole disks
platter keeps every version of a whole disk in one encrypted, deduplicated
repository in a folder, for example on a NAS, and restores any version
byte for byte.`

// writePackages writes a .deb and a .rpm of the files to the folder out. The folder work is for files of its own.
func writePackages(out, work string, src *source, p platform, list []file) error {
	for _, format := range []string{"deb", "rpm"} {
		if err := writePackage(out, filepath.Join(work, format), format, src, p, list); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

func writePackage(out, stage, format string, src *source, p platform, list []file) error {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	contents, err := stageFiles(stage, format, src, list)
	if err != nil {
		return err
	}
	arch := p.arch
	if arch == "arm" {
		arch = "arm6" // nfpm's word for GOARM=6: armhf and armv6hl
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "platter", Arch: arch, Platform: "linux", Version: src.version, Section: "admin", Priority: "optional",
		Maintainer: "The platter authors", Description: description, License: "MIT", MTime: src.time, DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Contents: contents,
			// Without a name, the name of this machine would get into the package.
			RPM: nfpm.RPM{BuildHost: "localhost", Group: "Applications/Archiving"},
		},
	})
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := packager.Package(info, &b); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, packager.ConventionalFileName(info)), b.Bytes(), 0o644)
}

// stageFiles writes the files to the folder stage, from which nfpm reads them, and returns where they are installed.
func stageFiles(stage, format string, src *source, list []file) (files.Contents, error) {
	var contents files.Contents
	folders := []string{"/usr/share/doc/platter"}
	for _, f := range list {
		place, kind := installed(format, f.name)
		if strings.HasSuffix(place, ".gz") {
			var err error
			if f.data, err = gzipped(f.data); err != nil {
				return nil, err
			}
		}
		staged := filepath.Join(stage, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(staged), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(staged, f.data, 0o600); err != nil {
			return nil, err
		}
		contents = append(contents, &files.Content{
			Source: staged, Destination: place, Type: kind,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: f.mode, MTime: src.time, Size: int64(len(f.data))},
		})
		// A package owns the folders that no other has, or its removal leaves them behind.
		if dir := path.Dir(place); strings.Contains(dir, "/platter") && !slices.Contains(folders, dir) {
			folders = append(folders, dir)
		}
	}
	for _, dir := range folders {
		contents = append(contents, &files.Content{
			Destination: dir, Type: files.TypeDir,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: 0o755, MTime: src.time},
		})
	}
	return contents, nil
}

// installed returns where a package puts a file of the archive, and what nfpm calls its kind. One that ends in .gz is
// compressed.
func installed(format, name string) (place, kind string) {
	const doc = "/usr/share/doc/platter/"
	rpm := format == "rpm"
	switch name {
	case "platter":
		return "/usr/bin/platter", files.TypeFile
	case manName:
		return "/usr/share/man/man1/platter.1.gz", files.TypeFile
	case bashName:
		return "/usr/share/bash-completion/completions/platter", files.TypeFile
	case zshName:
		if rpm {
			return "/usr/share/zsh/site-functions/_platter", files.TypeFile
		}
		return "/usr/share/zsh/vendor-completions/_platter", files.TypeFile
	case fishName:
		return "/usr/share/fish/vendor_completions.d/platter.fish", files.TypeFile
	case licenceName:
		if rpm {
			return "/usr/share/licenses/platter/LICENSE", files.TypeRPMLicense
		}
		return doc + "copyright", files.TypeFile
	}
	if rpm {
		return doc + name, files.TypeRPMDoc
	}
	return doc + name, files.TypeFile
}
