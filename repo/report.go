package repo

import (
	"cmp"
	"slices"

	"platter/chunk"
	"platter/index"
	"platter/pack"
)

// A Report is what Check found. Damage is sorted.
type Report struct {
	Damage []string // one sentence each, which begins with the file's name
	Notes  []string // odd things that lose no data
	Hints  []string // what to do about the damage

	Slots, Indexes, Packs, Snapshots int   // files checked
	Odd                              int   // files that are not the repository's; Notes name the first ones
	Leftover                         int   // files of unfinished writes; Notes name the first ones
	PackBytes                        int64 // of all packs
	ReadBytes                        int64 // of packs that were read whole
	Aside                            int   // snapshots kept aside
	Parity                           int   // parity files
	ParityBytes                      int64 // of the parity files
	PacksRead                        int   // packs read
	Recent                           int   // packs not read because this machine read them not long ago

	Noted     int   // damaged packs that this check noted in the repository
	Earlier   int   // damaged packs that were noted earlier and still are
	Cleared   int   // packs no longer noted as damaged
	Unnoted   error // why damage could not be noted; nil if it could
	Forgetful error // why this machine cannot remember what was read; nil if it can

	packErrs  map[pack.FileID]error
	frameErrs map[frameKey]error
	chunkErrs map[placeKey]error
	mendable  map[pack.FileID]bool // damaged packs that their parity files can mend
	index     *index.Index
	sight     *sight
}

// A placeKey names a chunk in a frame.
type placeKey struct {
	frameKey
	id chunk.ID
}

// ChunkError returns why a chunk cannot be read from any pack although the index lists it, or nil. Call it after Check.
func (r *Report) ChunkError(id chunk.ID) error {
	loc, ok := r.index.Lookup(id)
	if !ok {
		return nil
	}
	err := r.errAt(loc, id)
	if err == nil {
		return nil
	}
	for _, other := range r.index.Places(id) {
		if r.errAt(other, id) == nil {
			return nil
		}
	}
	return err
}

// errAt returns why a chunk cannot be read from one place, or nil.
func (r *Report) errAt(loc index.Location, id chunk.ID) error {
	key := frameKey{loc.Pack, loc.Offset}
	return cmp.Or(r.chunkErrs[placeKey{key, id}], r.frameErrs[key], r.packErrs[loc.Pack])
}

// Advise adds a hint unless it is there already.
func (r *Report) Advise(hint string) {
	if !slices.Contains(r.Hints, hint) {
		r.Hints = append(r.Hints, hint)
	}
}
