//go:build !unix

package snapshot

// syncDir does nothing: here folders cannot be synced, and a rename is as durable as it gets.
func syncDir(string) error { return nil }
