package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/pack"
	"platter/repo"
	"platter/repo/crypt"
)

func keyCommand(env *env) *cli.Command {
	return &cli.Command{
		Name:     "key",
		Usage:    "manage the passwords that open the repository",
		Category: aboutRepository,
		Subcommands: []*cli.Command{
			keyAddCommand(env),
			keyListCommand(env),
			keyRemoveCommand(env),
			keyPasswdCommand(env),
		},
	}
}

// newKeyOptions are the options of commands that set a password.
type newKeyOptions struct {
	common
	cost  costOptions
	fresh passwordSource
	label string
}

func newKeyFlags(o *newKeyOptions) []cli.Flag {
	flags := []cli.Flag{&cli.StringFlag{Name: "label", Usage: "`LABEL` of the password, as 'key list' shows it", Destination: &o.label}}
	flags = append(flags, passwordFlags(&o.fresh, "new-password", "the new password", "The new password (or PLATTER_NEW_PASSWORD):")...)
	return append(append(flags, costFlags(&o.cost)...), repoFlags(&o.common)...)
}

func keyAddCommand(env *env) *cli.Command {
	var opts newKeyOptions
	return &cli.Command{
		Name:   "add",
		Usage:  "add a password; each password opens the repository",
		Flags:  newKeyFlags(&opts),
		Action: action(env, &opts, runKeyAdd),
	}
}

func runKeyAdd(ctx context.Context, env *env, opts newKeyOptions, args []string) error {
	return setKey(ctx, env, opts, args, "added", (*repo.Repo).AddSlot)
}

func keyPasswdCommand(env *env) *cli.Command {
	var opts newKeyOptions
	return &cli.Command{
		Name:  "passwd",
		Usage: "change the password in use",
		Description: "The master key stays the same, and anyone who opened the repository with the old password may have copied it. " +
			"If the password was stolen, create a new repository.",
		Flags:  newKeyFlags(&opts),
		Action: action(env, &opts, runKeyPasswd),
	}
}

func runKeyPasswd(ctx context.Context, env *env, opts newKeyOptions, args []string) error {
	return setKey(ctx, env, opts, args, "changed to", (*repo.Repo).ChangePassword)
}

// setKey asks for a new password and lets set store it.
func setKey(ctx context.Context, env *env, opts newKeyOptions, args []string, did string,
	set func(*repo.Repo, context.Context, []byte, crypt.Cost, string) (pack.FileID, error),
) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	if err := opts.cost.cost().Validate(); err != nil {
		return usagef("%v", err)
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	password, err := env.newPassword(ctx, opts.fresh)
	if err != nil {
		return err
	}
	id, err := set(r, ctx, password, opts.cost.cost(), opts.label)
	if err != nil {
		return err
	}
	if opts.json {
		return env.printJSON(map[string]string{"key": id.String()})
	}
	fmt.Fprintf(env.stdout, "%s key %s\n", did, shortID(id))
	return nil
}

type keyListOptions struct{ common }

func keyListCommand(env *env) *cli.Command {
	var opts keyListOptions
	return &cli.Command{
		Name:   "list",
		Usage:  "list the passwords",
		Flags:  repoFlags(&opts.common),
		Action: action(env, &opts, runKeyList),
	}
}

// keyJSON is a key as key list --json prints it.
type keyJSON struct {
	ID      string     `json:"id"`
	Current bool       `json:"current"`
	Cost    crypt.Cost `json:"cost"`
	repo.SlotInfo
}

func runKeyList(ctx context.Context, env *env, opts keyListOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	slots, bad, err := r.Slots(ctx)
	if err != nil {
		return err
	}
	list := []keyJSON{}
	table := newTable("", "ID", "Created", "Host", "Label", ">Memory", ">Passes")
	for _, s := range slots {
		list = append(list, keyJSON{s.ID.String(), s.Current, s.Cost, s.Info})
		mark := ""
		if s.Current {
			mark = "*"
		}
		table.row(mark, shortID(s.ID), localTime(s.Info.Created), s.Info.Host, s.Info.Label, size(int64(s.Cost.Memory)<<10), fmt.Sprint(s.Cost.Time))
	}
	if opts.json {
		err = env.printJSON(list)
	} else {
		table.print(env)
	}
	unread := 0
	for _, err := range bad {
		env.warn(opts.common, "%v", err)
		if !errors.Is(err, repo.ErrOddSlot) {
			unread++
		}
	}
	if err == nil && unread > 0 {
		err = fmt.Errorf("%w: %s cannot be read", errIncomplete, count(unread, "key"))
	}
	return err
}

type keyRemoveOptions struct{ common }

func keyRemoveCommand(env *env) *cli.Command {
	var opts keyRemoveOptions
	return &cli.Command{
		Name:        "remove",
		Usage:       "remove a password",
		ArgsUsage:   "ID",
		Description: "ID is the first digits of a key's ID, as 'key list' prints it. The password in use, and the last one, cannot be removed.",
		Flags:       repoFlags(&opts.common),
		Action:      action(env, &opts, runKeyRemove),
	}
}

func runKeyRemove(ctx context.Context, env *env, opts keyRemoveOptions, args []string) error {
	if err := wantArgs(args, "ID"); err != nil {
		return err
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	id, err := r.RemoveSlot(ctx, args[0])
	if err != nil {
		return fmt.Errorf("remove key %q: %w", args[0], err)
	}
	if opts.json {
		return env.printJSON(map[string]string{"removed": id.String()})
	}
	fmt.Fprintf(env.stdout, "removed key %s\n", shortID(id))
	return nil
}
