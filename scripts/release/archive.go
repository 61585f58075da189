package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"path"
	"path/filepath"
	"time"
)

// writeArchive writes the files to base.zip for Windows and to base.tar.gz for all others. They unpack into one folder
// named like the archive, and all have the same time.
func writeArchive(base string, p platform, files []file, t time.Time) error {
	pack, ext := tarGz, ".tar.gz"
	if p.os == "windows" {
		pack, ext = zipped, ".zip"
	}
	data, err := pack(filepath.Base(base), files, t)
	if err != nil {
		return err
	}
	return os.WriteFile(base+ext, data, 0o644)
}

func tarGz(folder string, files []file, t time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(folder, f.name), Mode: int64(f.mode.Perm()), Size: int64(len(f.data)),
			ModTime: t, Uname: "root", Gname: "root", Format: tar.FormatUSTAR,
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return gzipped(b.Bytes())
}

func zipped(folder string, files []file, t time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: path.Join(folder, f.name), Method: zip.Deflate, Modified: t}
		h.SetMode(f.mode)
		dst, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := dst.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// gzipped compresses without a name and a time in the header.
func gzipped(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
