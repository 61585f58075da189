package restore

import (
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
)

// A content is what a target is to hold: the map of a snapshot's disk, or of a part of it, and the repository that has its chunks.
type content struct {
	*diskmap.Map
	repo *repo.Repo
}

// contentOf returns a part of a snapshot's disk.
func contentOf(r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part) (*content, error) {
	m, err := s.MapOf(r, part)
	if err != nil {
		return nil, err
	}
	return &content{m, r}, nil
}
