package store

import "time"

// A Lagging store may be a file system of another machine, whose clients remember for a while what they saw in a folder.
type Lagging interface {
	// Lag is how old what a listing shows may be; 0 where it shows what is there.
	Lag() time.Duration
}

// remoteLag covers what the clients of network file systems remember unless told otherwise: NFS on Linux a minute, SMB half of
// that.
const remoteLag = time.Minute

var _ Lagging = (*Local)(nil)

// Lag is a minute for folders that do not lie on a file system of this machine.
func (l *Local) Lag() time.Duration {
	if files, ok := l.fs.(osFiles); ok && isRemote(files.root) {
		return remoteLag
	}
	return 0
}
