package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"platter/pack/parity"
	"platter/repo"
)

// workingMemory is the memory for work, in bytes, beside what the program holds when limitMemory is called: for packs, and for the
// frames and reads of each core. The garbage collector runs more often near the limit.
func workingMemory() int64 { return 96<<20 + int64(min(runtime.GOMAXPROCS(0), 12))*(16<<20) }

// limitMemory sets the memory limit from what the program holds now: workingMemory, and tables bytes for tables that stay.
// GOMEMLIMIT overrides it.
func limitMemory(tables int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(int64(m.HeapAlloc) + workingMemory() + tables)
}

// parityMemory is the size of the tables that compute parity, if the repository has any. If the limit left them out, the garbage
// collector would run all the time.
func parityMemory(r *repo.Repo) int64 {
	if r.Config().Parity == 0 {
		return 0
	}
	return parity.Memory
}
