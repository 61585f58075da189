package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// workingMemory is how much memory, in bytes, the program may take for work on as many cores as there are, beside what it
// holds when limitMemory is called. The collector runs more often near it, which costs time only on machines of many cores.
const workingMemory = 136 << 20

// limitMemory tells the collector what the program may take from now on. GOMEMLIMIT overrides it.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(int64(m.HeapAlloc) + workingMemory)
}
