//go:build !windows

package nbd

const onWindows = false
