//go:build !unix

package image

import (
	"context"
	"syscall"
)

// A waiter does nothing here: a read that waits can only be left, not ended.
type waiter struct{}

func newWaiter(context.Context, syscall.RawConn) (*waiter, error) { return &waiter{}, nil }

func (*waiter) wait() {}

func (*waiter) close() error { return nil }
