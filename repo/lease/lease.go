// Package lease coordinates the processes that work in one repository, through files in its work directory.
//
// A lease says that a process is at work. A deletion marker condemns packs. A process takes a lease, then reads the
// markers, and only then reads what it builds on. A prune puts a marker, waits until every earlier lease has
// acknowledged it or ended, and only then deletes. So neither waits for the other, and a pack that a live process
// builds on is never deleted. docs/leases.md has the whole argument.
package lease

import (
	"errors"
	"fmt"
	"time"

	"platter/pack"
)

// A Work is what a process does in a repository.
type Work string

// The kinds of work. Later versions may add others; see Builds.
const (
	BackingUp  Work = "backup"
	Pruning    Work = "prune"
	Repairing  Work = "repair"
	Restoring  Work = "restore"
	Exporting  Work = "export"
	Checking   Work = "check"
	Forgetting Work = "forget"
	Serving    Work = "mount" // of a version that other programs read
)

// Builds reports whether such work builds on stored data: it does not store again what the index lists. A process that
// deletes packs waits for such work. Unknown kinds of work are assumed to build.
func (w Work) Builds() bool {
	return w != Restoring && w != Exporting && w != Checking && w != Forgetting && w != Serving
}

// Exclusive reports whether only one process may do such work at a time. Two would replace the same index files.
func (w Work) Exclusive() bool { return w == Pruning || w == Repairing }

// How often a process touches its lease, and the age at which a lease expires. A process that slept past that age loses
// its work but does no harm; see Holder.Commit.
const (
	TouchEvery   = time.Minute
	ExpiresAfter = 30 * time.Minute
	deleteWithin = 5 * time.Second // how long an ending process waits for the deletion of its lease
)

// A Lease says that a process is at work. The process touches the file as long as it lives. A lease untouched for
// ExpiresAfter belongs to a process that is dead or cut off.
type Lease struct {
	Work Work      `json:"work"`
	Host string    `json:"host"`
	PID  int       `json:"pid"`
	Boot string    `json:"boot,omitempty"` // where the PID is valid; see thisBoot
	Time time.Time `json:"time"`           // when the work began, by its machine's clock, for display
	// Acknowledged are the markers that the process knows of. The process may build on packs that any other marker
	// names. The list is in a second file, the acknowledgement. A new lease in place of the old one would not do: a
	// process that ends the old lease would not notice the new one.
	Acknowledged []pack.FileID `json:"honours,omitempty"`
	Of           *pack.FileID  `json:"of,omitempty"` // the lease that an acknowledgement belongs to; nil in a lease
	// Reads are the snapshots that a reader reads. A reader builds on nothing, so no marker concerns it.
	Reads []pack.FileID `json:"reads,omitempty"`
}

// String says which process holds the lease, and since when.
func (l Lease) String() string {
	return fmt.Sprintf("the %s that %s began at %s (process %d)", l.Work, l.Host, l.Time.Local().Format(time.DateTime), l.PID)
}

// IsDead reports whether a lease belongs to a dead process of this machine. A wrong answer costs the holder its lease
// and nothing else.
func (l Lease) IsDead() bool { return l.Boot != "" && l.Boot == thisBoot() && isDead(l.PID) }

// A Marker is a deletion marker. It names packs that nothing may build on any more.
type Marker struct {
	Packs []pack.FileID `json:"packs"`
	// Damaged makes it a damage marker: its packs stay, but nothing builds on them. Without it, its packs are about to
	// be deleted.
	Damaged bool      `json:"damaged,omitempty"`
	Host    string    `json:"host"`
	Time    time.Time `json:"time"` // by the clock of the machine that made it, for display
}

// packsPerMarker keeps a marker's file well below layout.MaxMarker.
const packsPerMarker = 100_000

var (
	// ErrInUse says that another process does exclusive work; see InUseError.
	ErrInUse = errors.New("the repository is in use")
	// ErrLost says that another process ended this process's lease, because this one was cut off or asleep for too
	// long. The other process may have deleted what this one built on.
	ErrLost = errors.New("this process did not reach the repository for too long, so others stopped waiting for it; run it again, " +
		"and it will reuse what it has stored")
	errNone = errors.New("a file is committed without a lease")
)

// An InUseError says which process does exclusive work.
type InUseError struct {
	Lease
	Future bool  // its lease is dated in the future
	Stuck  error // why such leases could not be touched; nil if they could
}

func (e *InUseError) Error() string {
	text := fmt.Sprintf("%v: a %s by %s (process %d) has been running since %s; wait for it to end. If that machine is dead, ",
		ErrInUse, e.Work, e.Host, e.PID, e.Time.Local().Format(time.DateTime))
	switch {
	case e.Future && e.Stuck != nil:
		return fmt.Sprintf("%sdelete its lease, which is dated in the future and cannot be touched: %v", text, e.Stuck)
	case e.Future:
		return fmt.Sprintf("%sthis works again in %v: its lease was dated in the future, by the store's clock", text, ExpiresAfter)
	}
	return fmt.Sprintf("%sthis works again %v after its death", text, ExpiresAfter)
}

// Is makes an InUseError match ErrInUse.
func (e *InUseError) Is(target error) bool { return target == ErrInUse }
