package store

import (
	"context"
	"errors"
)

// DryRun passes reads on and changes nothing: what is put or created is forgotten, what is deleted stays. It is for learning what
// work would do by doing all of it but the last step.
type DryRun struct{ Store }

var _ Store = DryRun{}

// Put checks the name and forgets the data.
func (DryRun) Put(ctx context.Context, name string, _ []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	return ctx.Err()
}

// Move moves nothing.
func (DryRun) Move(ctx context.Context, from, to string) error {
	return errors.Join(checkName(from), checkName(to), ctx.Err())
}

// Touch does nothing.
func (DryRun) Touch(ctx context.Context, name string) error {
	return errors.Join(checkName(name), ctx.Err())
}

// Delete deletes nothing.
func (DryRun) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return ctx.Err()
}
