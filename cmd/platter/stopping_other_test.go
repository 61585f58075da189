//go:build !unix

package main

// stopping is a program of tests that run elsewhere only.
func stopping() { panic("no process can be stopped here") }
