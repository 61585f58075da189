//go:build !unix

package restore

import (
	"io/fs"
	"os"
)

// syncDir does nothing: on this system directories cannot be synced, and a rename is as durable as it gets.
func syncDir(string) error { return nil }

// takeAfter does nothing: on this system file permissions are not in the mode.
func takeAfter(*os.File, string, fs.FileInfo) {}

// hold holds nothing: on this system an open file cannot be renamed.
func hold(*os.Root, string) (*os.File, bool, error) { return nil, false, nil }

// removeAbandoned removes nothing: it cannot tell whether a process has the file open.
func removeAbandoned(*os.Root, string) {}
