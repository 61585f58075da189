//go:build unix && !linux

package restore

import "os"

// hold opens a new file a second time. No lock shows that it is in use.
func hold(folder *os.Root, name string) (f *os.File, locked bool, err error) {
	if f, err = folder.Open(name); err != nil {
		return nil, false, nil // the mode forbids it
	}
	return f, false, nil
}

// removeAbandoned removes nothing: it cannot tell whether a process has the file open.
func removeAbandoned(*os.Root, string) {}

// takeLabels does nothing: on these systems a replaced file's access control list is not preserved.
func takeLabels(*os.File, string, bool) bool { return true }
