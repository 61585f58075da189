package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
)

type forgetOptions struct {
	common
	policy     snapshot.Policy // its tags are in tags
	tags       cli.StringSlice
	name, host string
	yes, prune bool
}

// forgetHow is the heading, in the help text, of the flags that are not a policy.
const forgetHow = "How to apply it:"

func forgetCommand(env *env) *cli.Command {
	var opts forgetOptions
	boolean := func(name, usage string, to *bool, aliases ...string) cli.Flag {
		return &cli.BoolFlag{Name: name, Aliases: aliases, Usage: usage, Destination: to, DisableDefaultText: true, Category: forgetHow}
	}
	return &cli.Command{
		Name:        "forget",
		Usage:       "remove versions, by name or by policy",
		ArgsUsage:   "[SNAPSHOT...]",
		Category:    aboutRepository,
		Description: aboutForget + "\n\n" + aboutSnapshotArgument + " To name a version that cannot be read, give 8 digits of its ID or more.",
		Flags: slices.Concat(keepFlags(&opts), []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "apply the policy only to disks called `NAME`", Destination: &opts.name, Category: forgetHow},
			&cli.StringFlag{Name: "host", Usage: "apply the policy only to disks of `HOST`", Destination: &opts.host, Category: forgetHow},
			boolean("dry-run", "only list what would be forgotten", &opts.dryRun, "n"),
			boolean("yes", "forget even more than half of a disk's versions at once", &opts.yes),
			boolean("prune", "prune afterwards; with --dry-run, print what that would do", &opts.prune),
		}, repoFlags(&opts.common)),
		Action: action(env, &opts, runForget),
	}
}

const aboutForget = "Removes the versions that SNAPSHOT names, or those that a policy does not keep. Their data stays in the repository until 'prune' deletes it.\n\n" +
	"A policy is one or more --keep flags. It applies to each disk (name and host) separately, even if an older platter stored several disks under one name. " +
	"A version that any of the flags keeps stays. Of each hour, day, week, month or year, the newest version stays. " +
	"Periods follow this machine's time zone, and those without a version do not count. " +
	"--keep-within counts from the newest version of the disk. Versions dated in the future stay and do not count.\n\n" +
	"Whole versions come first. A mixture, or a version with unreadable bytes, represents a period only if there is no whole one, and the newest whole version stays too.\n\n" +
	"forget refuses to remove more than half of a disk's versions at once without --yes. " +
	"It refuses a policy that keeps no version of a disk, and any policy while versions that this machine saw are missing (see 'snapshots --accept')."

func keepFlags(o *forgetOptions) []cli.Flag {
	const category = "Policy: what to keep of each disk (N is a number or 'all'):" // in help texts before commonFlags
	count := func(name, usage string, to *int) cli.Flag {
		return &cli.GenericFlag{Name: "keep-" + name, Usage: usage, Value: (*keepCount)(to), Category: category}
	}
	each := func(name, period string, to *int) cli.Flag {
		return count(name, "the newest version of each of `N` "+period, to)
	}
	return []cli.Flag{
		count("last", "the newest `N` versions", &o.policy.Last),
		each("hourly", "hours", &o.policy.Hourly),
		each("daily", "days", &o.policy.Daily),
		each("weekly", "weeks, which begin on Monday", &o.policy.Weekly),
		each("monthly", "months", &o.policy.Monthly),
		each("yearly", "years", &o.policy.Yearly),
		&cli.GenericFlag{
			Name: "keep-within", Usage: "all versions up to `TIME` older than the newest, such as 14d or 1y6m14d12h",
			Value: (*span)(&o.policy.Within), Category: category,
		},
		&cli.StringSliceFlag{Name: "keep-tag", Usage: "all versions with this `TAG`; may be repeated", Destination: &o.tags, Category: category},
	}
}

// validate returns a usage error unless there are either snapshots or a policy.
func (o forgetOptions) validate(args []string) error {
	switch {
	case slices.Contains(o.policy.Tags, ""):
		return usagef("--keep-tag: a tag must not be empty")
	case len(args) > 0 && !o.policy.Empty():
		return usagef("give snapshots or a policy (--keep-…), not both")
	case len(args) > 0 && (o.name != "" || o.host != ""):
		return usagef("--name and --host restrict a policy (--keep-…); do not give snapshots")
	case len(args) == 0 && o.policy.Empty():
		return usagef("nothing to forget: give snapshots, or a policy such as --keep-daily 14")
	}
	return nil
}

func runForget(ctx context.Context, env *env, opts forgetOptions, args []string) error {
	opts.policy.Tags = opts.tags.Value()
	if err := opts.validate(args); err != nil {
		return err
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	all, bad, err := loadWatched(ctx, env, r, opts.common)
	if err != nil {
		return err
	}
	retention, err := decideForget(env, opts, args, all, bad)
	if err != nil {
		return err
	}
	held, err := holdRead(ctx, env, opts, r, retention, len(args) > 0)
	if err != nil {
		return err
	}
	result := forgetJSON{retention: retention, named: len(args) > 0, DryRun: opts.dryRun}
	if !opts.dryRun {
		if result.Removed, err = retention.Run(ctx, r); result.Removed > 0 {
			r.DropSeen(retention.IDs()[:result.Removed])
		}
		if err != nil {
			return err
		}
	}
	if !opts.json {
		printForget(env, result)
	}
	if opts.prune {
		result.Prune, err = pruneAfterForget(ctx, env, opts.common, r, retention.IDs())
	}
	if opts.json {
		err = errors.Join(env.printJSON(result.filled()), err)
	}
	if err == nil && len(args) == 0 && len(bad) > 0 {
		err = unreadable(bad) // the policy skipped them
	}
	if err == nil && held > 0 {
		err = fmt.Errorf("%w: %s kept because a command is reading %s", errIncomplete, count(held, "version"), themIt(held))
	}
	return err
}

// holdRead keeps versions that a command is reading, and returns their number. If they were named, it returns an error.
func holdRead(ctx context.Context, env *env, opts forgetOptions, r *repo.Repo, retention *snapshot.Retention, named bool) (held int, err error) {
	going := retention.IDs()
	if len(going) == 0 {
		return 0, nil
	}
	read, err := r.Readers(ctx)
	if err != nil {
		return 0, err
	}
	for _, id := range going {
		if by, ok := read[id]; ok && named {
			return 0, fmt.Errorf("nothing was forgotten: %w", &repo.HeldError{Snapshot: id, By: by})
		} else if ok {
			env.warn(opts.common, "version %.8s is kept, because %v is reading it", id, by)
		}
	}
	return retention.Hold(read), nil
}

// decideForget decides what to forget, and refuses what is probably a slip. In a dry run it only warns.
func decideForget(env *env, opts forgetOptions, args []string, all []*snapshot.Snapshot, bad []error) (*snapshot.Retention, error) {
	refuse := func(err error) error {
		if err != nil && opts.dryRun {
			env.warn(opts.common, "%v", err)
			return nil
		}
		return err
	}
	if len(args) > 0 {
		for _, err := range bad {
			env.warn(opts.common, "a snapshot cannot be read: %v", err)
		}
		retention, err := snapshot.ByName(args, all, bad, env.now())
		if err != nil {
			return nil, err
		}
		env.warnPassed(opts.common, retention.Passed)
		return retention, refuse(drastic(opts, retention))
	}
	if err := refuse(cmp.Or(opts.suspicious(), missingWhenRead(bad))); err != nil {
		return nil, err
	}
	filter := snapshot.Filter{Name: opts.name, Host: opts.host}
	all = slices.DeleteFunc(all, func(s *snapshot.Snapshot) bool { return !filter.Match(s) })
	retention := snapshot.ByPolicy(opts.policy, all, env.now(), time.Local)
	if err := retention.KeepsNone(); err != nil {
		return retention, refuse(fmt.Errorf("refused: %w; add --keep-last 1, or choose other disks with --name and --host", err))
	}
	return retention, refuse(drastic(opts, retention))
}

func drastic(opts forgetOptions, retention *snapshot.Retention) error {
	if err := retention.Drastic(); err != nil && !opts.yes {
		return fmt.Errorf("refused without --yes (--dry-run shows what would be forgotten): %w", err)
	}
	return nil
}
