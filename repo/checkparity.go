package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
	"platter/repo/store"
)

// Values of Report.Hints about parity.
const (
	hintMend   = "run 'platter repair packs': it mends packs by their parity files"
	hintParity = "run 'platter parity add --verify': it replaces damaged parity files"
)

// takeParity lists a file if it is the parity of a pack.
func (s *sight) takeParity(f store.Info) bool {
	id, ok := layout.ParseParity(f)
	if ok {
		s.parity[id] = f.Size
	}
	return ok
}

// countParity reports packs without parity and parity without packs.
func (c *checker) countParity(s *sight) {
	strays := parityListing{s.packs, s.parity}.withoutPack()
	if strays > 0 {
		c.note("parity files whose pack is missing: %d", strays)
	}
	if without := len(s.packs) - (len(s.parity) - strays); without > 0 && c.repo.config.Parity > 0 {
		c.note("packs without a parity file: %d; 'platter parity add' creates them", without)
	}
}

// readParity checks the parity file of a pack, if there is one. The file's own sums suffice: the pack was already read
// and verified by its name.
func (c *checker) readParity(ctx context.Context, id pack.FileID) {
	size, ok := c.parity[id]
	if !ok {
		return
	}
	c.progress.Expect(size)
	// A missing parity file was deleted with its pack.
	if err := checkParity(ctx, c.repo.view().store, id); ctx.Err() == nil && err != nil && !layout.IsMissing(err) {
		c.damage(err)
		c.hint(hintParity)
	}
	c.progress.Add(size)
}

// checkParity returns what is wrong with the parity file of a pack.
func checkParity(ctx context.Context, s store.Store, id pack.FileID) error {
	name := layout.ParityName(id)
	par, err := layout.Read(ctx, s, name, parity.MaxFile)
	if err != nil {
		return err
	}
	report, err := parity.Check(nil, par)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case report.Pack != id:
		return fmt.Errorf("%s: %w: it is the parity of another pack", name, pack.ErrDamaged)
	}
	if lost := len(report.LostParity) + report.LostTables; lost > 0 {
		return fmt.Errorf("%s: %w: %d of its sectors are lost", name, pack.ErrDamaged, lost)
	}
	if size := report.FileSize(); int64(len(par)) != size {
		return fmt.Errorf("%s: %w: %d bytes instead of %d", name, pack.ErrDamaged, len(par), size)
	}
	return nil
}

// mendMissing looks for missing packs that their parity files hold completely.
func (c *checker) mendMissing(ctx context.Context, s *sight) {
	for id := range s.missing {
		c.tryMending(ctx, s.tables[id])
	}
}

// tryMending finds out whether a damaged pack can be mended. If so, its chunks are not lost.
func (c *checker) tryMending(ctx context.Context, p index.PackTable) {
	if _, ok := c.parity[p.ID]; !ok || ctx.Err() != nil {
		return
	}
	m, err := c.repo.mend(ctx, p.ID)
	if err != nil || m.whole {
		return
	}
	table, err := pack.ReadTable(int64(len(m.file)), c.repo.keys, func(off, n int64) ([]byte, error) {
		// A clone, because it is opened in place.
		return slices.Clone(m.file[min(off, int64(len(m.file))):min(off+n, int64(len(m.file)))]), nil
	})
	if err != nil || !slices.Equal(table.Frames, p.Table.Frames) || !slices.Equal(table.Chunks, p.Table.Chunks) {
		return
	}
	c.hint(hintMend)
	c.mu.Lock()
	c.report.mendable[p.ID] = true
	delete(c.report.packErrs, p.ID)
	c.mu.Unlock()
	c.frames(m.file, p)
}

// frames verifies the damaged frames again, now in the mended pack. They are good unless the pack was wrong from the
// start.
func (c *checker) frames(file []byte, p index.PackTable) {
	namers := map[chunk.Kind]*chunk.Namer{chunk.Data: c.repo.Namer(chunk.Data), chunk.Map: c.repo.Namer(chunk.Map)}
	defer c.repo.Return(chunk.Data, namers[chunk.Data])
	defer c.repo.Return(chunk.Map, namers[chunk.Map])
	off, refs := int64(pack.HeaderSize), p.Table.Chunks
	for _, f := range p.Table.Frames {
		if c.report.forget(&c.mu, frameKey{p.ID, off}) {
			c.frame(p.ID, off, nil, slices.Clone(file[off:][:f.Sealed]), f, refs[:f.Chunks], namers[f.Kind])
		}
		off, refs = off+int64(f.Sealed), refs[f.Chunks:]
	}
}

// forget removes the findings about a frame and reports whether there were any.
func (r *Report) forget(mu *sync.Mutex, key frameKey) bool {
	mu.Lock()
	defer mu.Unlock()
	bad := r.frameErrs[key] != nil
	delete(r.frameErrs, key)
	for chunk := range r.chunkErrs {
		if chunk.frameKey == key {
			delete(r.chunkErrs, chunk)
			bad = true
		}
	}
	return bad
}

// tellMendable adds to the reports of damaged packs that they can be mended.
func (r *Report) tellMendable() {
	for i, line := range r.Damage {
		name, _, _ := strings.Cut(line, ": ")
		id, err := pack.ParseFileID(name[strings.LastIndexByte(name, '/')+1:])
		if err == nil && r.mendable[id] && name == layout.PackName(id) {
			r.Damage[i] += "; it can be mended from its parity file"
		}
	}
}

// AddHealed adds damage that Repo.Healed reports and that Check did not find itself.
func (r *Report) AddHealed(lines []string) {
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ": ")
		known := func(s string) bool { return strings.HasPrefix(s, name+": ") }
		if !slices.ContainsFunc(r.Damage, known) {
			r.Damage = append(r.Damage, line)
			r.Advise(hintMend)
		}
	}
	slices.Sort(r.Damage)
}
