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

func forgetCommand(env *env) *cli.Command {
	var opts forgetOptions
	boolean := func(name, usage string, to *bool, aliases ...string) cli.Flag {
		return &cli.BoolFlag{Name: name, Aliases: aliases, Usage: usage, Destination: to, DisableDefaultText: true}
	}
	return &cli.Command{
		Name:        "forget",
		Usage:       "forget versions: those that are named, or those that a policy does not keep",
		ArgsUsage:   "[SNAPSHOT...]",
		Category:    aboutRepository,
		Description: aboutForget + "\n\n" + aboutSnapshotArgument + " One that cannot be read is named by the first 8 digits of its id or more.",
		Flags: slices.Concat(keepFlags(&opts), []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "apply the policy only to disks called `NAME`", Destination: &opts.name},
			&cli.StringFlag{Name: "host", Usage: "apply the policy only to disks of `HOST`", Destination: &opts.host},
			boolean("dry-run", "tell what would go, and forget nothing", &opts.dryRun, "n"),
			boolean("yes", "go on although more than half of a disk's versions would go at once", &opts.yes),
			boolean("prune", "prune afterwards; with --dry-run, tell what that would do", &opts.prune),
		}, repoFlags(&opts.common)),
		Action: action(env, &opts, runForget),
	}
}

const aboutForget = "Data that only forgotten versions have stay in the repository until it is pruned.\n\n" +
	"A policy is one --keep flag or several. It is applied to each disk (name and host) by itself, also to disks that an older " +
	"platter kept under one name; a version stays for any one of " +
	"them. Of each hour, day, week, month or year the newest version stays, by the calendar of this machine's time zone; those " +
	"without a version are not counted. Whole versions come first: a mixture, or a version with unreadable bytes, stays where there " +
	"is none, and the newest whole version stays beside it. --keep-within is measured from the disk's newest version. Versions whose time is in the " +
	"future are never counted, and stay.\n\n" +
	"When more than half of a disk's versions would go at once, nothing is forgotten without --yes. A policy that keeps no version " +
	"of a disk is refused, and so is any policy while versions are missing that this machine has seen (see 'snapshots --accept')."

func keepFlags(o *forgetOptions) []cli.Flag {
	const category = "A policy keeps of each disk (N is a number or 'all'):" // in help texts before commonFlags
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
		&cli.GenericFlag{Name: "keep-within", Usage: "all versions up to `TIME` older than the newest, such as 14d or 1y6m14d12h",
			Value: (*span)(&o.policy.Within), Category: category},
		&cli.StringSliceFlag{Name: "keep-tag", Usage: "all versions with this `TAG`; may be repeated", Destination: &o.tags, Category: category},
	}
}

// validate returns a usage error unless the flags say one way of choosing what goes.
func (o forgetOptions) validate(args []string) error {
	switch {
	case slices.Contains(o.policy.Tags, ""):
		return usagef("--keep-tag: no tag is empty")
	case len(args) > 0 && !o.policy.Empty():
		return usagef("give snapshots or a policy (--keep-…), not both")
	case len(args) > 0 && (o.name != "" || o.host != ""):
		return usagef("--name and --host go with a policy (--keep-…), not with snapshots")
	case len(args) == 0 && o.policy.Empty():
		return usagef("what to forget? give snapshots, or a policy such as --keep-daily 14")
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
	plan, err := planForget(env, opts, args, all, bad)
	if err != nil {
		return err
	}
	held, err := holdRead(ctx, env, opts, r, plan, len(args) > 0)
	if err != nil {
		return err
	}
	result := forgetJSON{plan: plan, named: len(args) > 0, DryRun: opts.dryRun}
	if !opts.dryRun {
		if result.Removed, err = plan.Run(ctx, r); result.Removed > 0 {
			r.DropSeen(plan.IDs()[:result.Removed])
		}
		if err != nil {
			return err
		}
	}
	if !opts.json {
		printForget(env, result)
	}
	if opts.prune {
		result.Prune, err = pruneAfterForget(ctx, env, opts.common, r, plan.IDs())
	}
	if opts.json {
		err = errors.Join(env.printJSON(result.filled()), err)
	}
	if err == nil && len(args) == 0 && len(bad) > 0 {
		err = unreadable(bad) // the policy did not see them, and they are still there
	}
	if err == nil && held > 0 {
		err = fmt.Errorf("%w: %s kept because they are being read", errIncomplete, count(held, "version"))
	}
	return err
}

// holdRead keeps versions that somebody is reading, and returns how many; where they were named, it is an error.
func holdRead(ctx context.Context, env *env, opts forgetOptions, r *repo.Repo, plan *snapshot.Plan, named bool) (held int, err error) {
	going := plan.IDs()
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
			env.warn(opts.common, "version %.8s is kept: it is being read by %v", id, by)
		}
	}
	return plan.Hold(read), nil
}

// planForget chooses what goes, and refuses what is a slip more often than not; in a dry run that is only a warning.
func planForget(env *env, opts forgetOptions, args []string, all []*snapshot.Snapshot, bad []error) (*snapshot.Plan, error) {
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
		plan, err := snapshot.ByName(args, all, bad, env.now())
		if err != nil {
			return nil, err
		}
		env.warnPassed(opts.common, plan.Passed)
		return plan, refuse(drastic(opts, plan))
	}
	if err := refuse(cmp.Or(opts.suspicious(), vanished(bad))); err != nil {
		return nil, err
	}
	filter := snapshot.Filter{Name: opts.name, Host: opts.host}
	all = slices.DeleteFunc(all, func(s *snapshot.Snapshot) bool { return !filter.Match(s) })
	plan := snapshot.ByPolicy(opts.policy, all, env.now(), time.Local)
	if err := plan.KeepsNone(); err != nil {
		return plan, refuse(fmt.Errorf("refused: %w; add --keep-last 1, or choose other disks with --name and --host", err))
	}
	return plan, refuse(drastic(opts, plan))
}

func drastic(opts forgetOptions, plan *snapshot.Plan) error {
	if err := plan.Drastic(); err != nil && !opts.yes {
		return fmt.Errorf("refused without --yes (--dry-run shows what would go): %w", err)
	}
	return nil
}
