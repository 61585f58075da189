package store

import "testing"

// AwaitWalk returns when a walk that begins after the call has ended.
func (c *BlockCache) AwaitWalk(t testing.TB) {
	t.Helper()
	c.files.walk(t.Context())
}
