//go:build !linux

package fuse

import "context"

// A Server serves a mounted folder. There is none on this platform.
type Server struct{}

// Check returns ErrUnsupported.
func Check(string, Options) error { return ErrUnsupported }

// Mount returns ErrUnsupported.
func Mount(context.Context, string, Catalog, Options) (*Server, error) { return nil, ErrUnsupported }

// Wait returns ErrUnsupported.
func (*Server) Wait(context.Context) error { return ErrUnsupported }

// Unmount returns ErrUnsupported.
func (*Server) Unmount() error { return ErrUnsupported }

// Close does nothing.
func (*Server) Close() error { return nil }
