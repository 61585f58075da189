package main

import (
	"slices"
	"strings"

	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/image/nbd"
)

// warnOfContainer warns of a file or an export that is clearly not a disk, before platter spends hours on it.
func (src *source) warnOfContainer(env *env, opts backupOptions) {
	if src.kind != image.KindRaw && src.kind != nbd.Kind || opts.image.format != "" {
		return
	}
	if _, note := anatomy.Container(src.disk); note != "" {
		env.warn(opts.common, "%s: %s", src.path, note)
	}
}

// tellOfContent does the same for a stream, whose content is known only after the backup, and describes a disk in a file.
func (src *source) tellOfContent(env *env, opts backupOptions, s *snapshot.Snapshot) {
	d := s.Anatomy
	if d == nil || src.file != nil && src.file.Kind == image.KindDevice {
		return
	}
	if i := slices.IndexFunc(d.Notes, anatomy.IsContainerNote); src.stream != nil && i >= 0 {
		env.warn(opts.common, "standard input: %s", d.Notes[i])
	}
	if d.Content != nil && strings.HasPrefix(d.Content.Type, "crypto_") {
		env.info(opts.common, "note: the whole disk is encrypted (%s): it is stored as it is, and neither compresses nor deduplicates well", d.Content.Type)
	}
}
