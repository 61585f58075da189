//go:build !linux && !darwin && !windows

package store

func isRemote(string) bool { return false }
