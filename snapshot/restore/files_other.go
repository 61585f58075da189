//go:build !unix

package restore

import (
	"io/fs"
	"os"
)

// syncDir does nothing: here folders cannot be synced, and a rename is as durable as it gets.
func syncDir(string) error { return nil }

// takeAfter does nothing: here who may read a file is not kept in its mode.
func takeAfter(*os.File, string, fs.FileInfo) {}

// hold holds nothing: an open file could not be renamed.
func hold(*os.Root, string) (*os.File, bool, error) { return nil, false, nil }

// removeAbandoned removes nothing: it is not known whether a process has the file.
func removeAbandoned(*os.Root, string) {}
