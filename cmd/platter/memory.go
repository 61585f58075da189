package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"platter/pack/parity"
	"platter/repo"
)

// workingMemory is how much memory, in bytes, the program may take for work, beside what it holds when limitMemory is called:
// for packs, and for each core's frames and reads. The collector runs more often near it.
func workingMemory() int64 { return 96<<20 + int64(min(runtime.GOMAXPROCS(0), 12))*(16<<20) }

// limitMemory tells the collector what the program may take from now on, and what it may take beside that for tables that
// stay. GOMEMLIMIT overrides it.
func limitMemory(tables int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(int64(m.HeapAlloc) + workingMemory() + tables)
}

// parityMemory is what tables to compute parity take, where there is any: without them in the limit, the collector would run
// all the time.
func parityMemory(r *repo.Repo) int64 {
	if r.Config().Parity == 0 {
		return 0
	}
	return parity.Memory
}
