//go:build !unix

package main

import (
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// allocated is not to be had here; a script must say [unix] before blocks.
func allocated(ts *testscript.TestScript, _ string) int64 {
	ts.Fatalf("blocks: only on unix")
	return 0
}

func peakMemory(*os.ProcessState) int64 { return -1 }
