package fuse

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxName   = 255 // bytes, the limit of Linux
	suffixLen = 1 + 8
)

// suffixed matches names that look as if distinct had made them.
var suffixed = regexp.MustCompile(`~[0-9a-f]{8}$`)

// SafeNames returns a file name for each name, in the same order: not empty, at most 255 bytes, without slashes and
// control characters, not hidden, and unlike all others. A name that is safe stays. In other names an underscore replaces
// each character that cannot be kept. Names that would then be equal each get a suffix made of their hash, so that no
// name ever stands for another one's disk.
func SafeNames(names []string) []string {
	safe, count := make([]string, len(names)), make(map[string]int)
	for i, name := range names {
		safe[i] = safeName(name)
		count[safe[i]]++
	}
	seen := make(map[string]int)
	for i, name := range names {
		if count[safe[i]] == 1 && len(safe[i]) <= maxName && !suffixed.MatchString(safe[i]) {
			continue
		}
		if seen[name]++; seen[name] > 1 { // the same name again
			name = fmt.Sprintf("%s\x00%d", name, seen[name])
		}
		safe[i] = distinct(safe[i], name)
	}
	return safe
}

// safeName replaces what a file's name cannot hold. It does not shorten.
func safeName(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '/' || unicode.IsControl(r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, name)
	if safe == "" || safe[0] == '.' {
		safe = "_" + strings.TrimPrefix(safe, ".")
	}
	return safe
}

// distinct shortens a safe name and adds a hash of the name that it was made of.
func distinct(safe, name string) string {
	if end := maxName - suffixLen; len(safe) > end {
		for !utf8.RuneStart(safe[end]) {
			end--
		}
		safe = safe[:end]
	}
	sum := sha256.Sum256([]byte(name))
	return safe + "~" + hex.EncodeToString(sum[:])[:suffixLen-1]
}

// latest is the name of the link to the newest version.
const latest = "latest"

// versionNames returns a folder name for each version: its time in UTC to the second, so that the order of names is that
// of times. Versions of the same second get the start of their ID as a suffix.
func versionNames(versions []Version) []string {
	const layout = "2006-01-02T15-04-05Z" // colons would need quotes in shells, and mean a host to rsync
	names, count := make([]string, len(versions)), make(map[string]int)
	for i, v := range versions {
		names[i] = v.Time.UTC().Truncate(time.Second).Format(layout)
		count[names[i]]++
	}
	for i, v := range versions {
		if count[names[i]] > 1 {
			names[i] += "-" + v.ID[:min(len(v.ID), 8)]
		}
	}
	return SafeNames(names)
}
