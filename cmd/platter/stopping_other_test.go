//go:build !unix

package main

// stopping is a program of tests that run elsewhere only.
func stopping() { panic("nobody can stop a process here") }
