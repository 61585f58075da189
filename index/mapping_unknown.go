//go:build unix && !linux && !darwin && !freebsd

package index

import "os"

// isLocal does not know, so nothing is mapped.
func isLocal(*os.File) bool { return false }
