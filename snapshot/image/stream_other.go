//go:build !unix

package image

import (
	"context"
	"syscall"
)

// A waiter does nothing: on this system a waiting read cannot be ended.
type waiter struct{}

func newWaiter(context.Context, syscall.RawConn) (*waiter, error) { return &waiter{}, nil }

func (*waiter) wait() {}

func (*waiter) close() error { return nil }
