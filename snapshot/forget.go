package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"platter/pack"
	"platter/repo"
)

var (
	// ErrDrastic says that many versions would be forgotten at once, which is more often a mistake than intended.
	ErrDrastic = errors.New("more than half of a disk's versions would go at once")
	// ErrKeepsNone says that a policy would leave no version of a disk, which is never its purpose.
	ErrKeepsNone = errors.New("the policy keeps no version")
)

// minUnreadable is how many digits of its ID name a snapshot that cannot be read. Elsewhere fewer digits suffice, but
// here nothing else identifies the snapshot.
const minUnreadable = 8

// A Retention is the decision on what to forget, and what stays and why.
type Retention struct {
	Disks      []Versions
	Unreadable []*Unreadable // files to forget; only an ID names one
	Passed     []*Snapshot   // versions from the future, which names skipped
}

// ByPolicy decides to forget the versions that a policy does not keep.
func ByPolicy(p Policy, snapshots []*Snapshot, now time.Time, loc *time.Location) *Retention {
	return &Retention{Disks: p.Decide(snapshots, now, loc)}
}

// ByName decides to forget the snapshots that specs name. It resolves all specs, as Find does, before anything is
// removed. At least eight digits of an ID also name a snapshot that cannot be read. The result has the disks that lose
// a version.
func ByName(specs []string, snapshots []*Snapshot, bad []error, now time.Time) (*Retention, error) {
	retention := new(Retention)
	named := map[pack.FileID]bool{}
	for _, spec := range specs {
		s, passed, err := Find(snapshots, spec, now)
		retention.Passed = append(retention.Passed, passed...)
		u, ambiguous := findUnreadable(bad, spec)
		switch {
		case ambiguous || u != nil && !errors.Is(err, ErrNotFound):
			return nil, fmt.Errorf("%w: %q also begins the id of one that cannot be read; write more of it", ErrAmbiguous, spec)
		case u != nil:
			if !slices.Contains(retention.Unreadable, u) {
				retention.Unreadable = append(retention.Unreadable, u)
			}
		case err != nil:
			return nil, err
		default:
			named[s.ID] = true
		}
	}
	for _, v := range versions(snapshots, now) {
		for i := range v.Decisions {
			if d := &v.Decisions[i]; !named[d.ID] {
				d.because("not named")
			}
		}
		if len(v.Going()) > 0 {
			retention.Disks = append(retention.Disks, v)
		}
	}
	return retention, nil
}

// findUnreadable returns the only file whose ID starts with spec; nil if there is none.
func findUnreadable(bad []error, spec string) (found *Unreadable, ambiguous bool) {
	for _, err := range bad {
		u, ok := errors.AsType[*Unreadable](err)
		if !ok || len(spec) < minUnreadable || !strings.HasPrefix(u.ID.String(), strings.ToLower(spec)) {
			continue
		}
		if found != nil {
			return nil, true
		}
		found = u
	}
	return found, false
}

// Drastic returns an error that wraps ErrDrastic and names the disks that would lose more than half of their versions.
// Versions from the future do not make up for others, but they are versions too. So the limit holds both without them
// and with them. It always names a file that cannot be read, because its disk is unknown.
func (p *Retention) Drastic() error {
	var lines []string
	for _, v := range p.Disks {
		all, going := len(v.Decisions), len(v.Going())
		if counted, some := v.counted(); 2*some > counted {
			all, going = counted, some
		}
		if 2*going > all {
			lines = append(lines, fmt.Sprintf("%d of %d of %s", going, all, v))
		}
	}
	for _, u := range p.Unreadable {
		lines = append(lines, fmt.Sprintf("%s, which cannot be read: it may belong to any disk", u.ID))
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("%w:\n%s", ErrDrastic, strings.Join(lines, "\n"))
}

// KeepsNone returns an error that wraps ErrKeepsNone. It names the disks that would lose all versions that are not from
// the future.
func (p *Retention) KeepsNone() error {
	var names []string
	for _, v := range p.Disks {
		if all, going := v.counted(); all > 0 && going == all {
			names = append(names, v.String())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%w of %s", ErrKeepsNone, strings.Join(names, ", "))
}

// Hold keeps the versions that another process reads, and returns how many of them would have been forgotten.
func (p *Retention) Hold(read map[pack.FileID]repo.Lease) (held int) {
	for _, v := range p.Disks {
		for i := range v.Decisions {
			d := &v.Decisions[i]
			if by, ok := read[d.ID]; ok && !d.Stays() {
				d.because("read by " + by.String())
				held++
			}
		}
	}
	return held
}

// IDs returns what to forget, the oldest of each disk first. So if a removal fails, the newest versions remain.
func (p *Retention) IDs() (ids []pack.FileID) {
	for _, u := range p.Unreadable {
		ids = append(ids, u.ID)
	}
	for _, v := range p.Disks {
		for _, s := range v.Going() {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// Run forgets the versions, and returns how many snapshots it removed. It reads unreadable files again and sets them
// aside, because their content is unknown.
func (p *Retention) Run(ctx context.Context, r *repo.Repo) (removed int, err error) {
	var aside []pack.FileID
	for _, u := range p.Unreadable {
		if still := Reread(ctx, r, u); errors.Is(still, ErrReadable) {
			return 0, fmt.Errorf("forget snapshots: %w", still)
		}
		aside = append(aside, u.ID)
	}
	if removed, err = r.SetAside(ctx, aside); err != nil || len(p.Disks) == 0 {
		return removed, err
	}
	n, err := r.Forget(ctx, p.IDs()[removed:])
	return removed + n, err
}
