//go:build !linux

package store

func dropPages(uintptr) {}
