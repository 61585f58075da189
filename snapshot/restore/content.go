package restore

import (
	"platter/snapshot"
	"platter/snapshot/diskmap"
)

// A content is what a target will hold: the map of a snapshot's disk or a part of it, and the repository with its
// chunks.
type content struct {
	*diskmap.Map
	repo Repository
}

// contentOf returns the content of a part of a snapshot's disk.
func contentOf(r Repository, s *snapshot.Snapshot, part snapshot.Part) (*content, error) {
	m, err := s.MapOf(r, part)
	if err != nil {
		return nil, err
	}
	return &content{m, r}, nil
}
