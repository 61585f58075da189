package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/urfave/cli/v2"

	"platter/pack"
	"platter/repo"
	"platter/snapshot"
)

type pruneOptions struct {
	common
	maxUnused share
	maxRepack byteSize
	yes       bool
	without   []pack.FileID // snapshots to treat as forgotten, in a dry run
}

func pruneCommand(env *env) *cli.Command {
	opts := pruneOptions{maxUnused: defaultUnused, maxRepack: math.MaxInt64}
	return &cli.Command{
		Name:     "prune",
		Usage:    "delete data that no version needs",
		Category: aboutRepository,
		Description: "Deletes packs that no snapshot needs. From packs that are mostly unused, it copies what is needed into new packs first. " +
			"Backups and restores can run at the same time; the next prune deletes what a running backup may still rely on. " +
			"You can interrupt it at any time and run it again.\n\n" +
			"prune can make room on a full NAS, but it needs a little room itself: two files of 4 KiB, for a lease and a deletion marker, and 67 bytes for each pack beyond about fifty. " +
			"If it has less, delete something else on the NAS, or a parity file of the repository (packs/*/*.par): 'parity add' creates it again. Do not delete any other file of the repository.\n\n" +
			"Nothing is deleted while snapshots that this machine saw are missing and were not forgotten (see 'snapshots --accept'). " +
			"Without --yes, nothing is deleted either if a missing snapshot is named as a parent, or if there are packs but no record that their snapshots were forgotten.\n\n" +
			"Other machines may see a deletion marker late, so prune waits three times --grace. The default comes from the mount's options, and is at least a minute. " +
			"It is zero if the repository is on a local disk that no other machine uses. " +
			"FUSE file systems such as 'rclone mount' do not report how long they cache: set --grace for them.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only print what would be done", Destination: &opts.dryRun, DisableDefaultText: true},
			&cli.GenericFlag{Name: "max-unused", Usage: "`SHARE` of the repository that may stay unused; a smaller one means more copying", Value: &opts.maxUnused},
			&cli.GenericFlag{Name: "max-repack", Usage: "copy no more than `SIZE`", Value: &opts.maxRepack, DefaultText: "no limit"},
			&cli.BoolFlag{Name: "yes", Usage: "continue although snapshots seem to be missing, unless this machine saw them", Destination: &opts.yes, DisableDefaultText: true},
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runPrune),
	}
}

const defaultUnused = 0.05

func (o pruneOptions) prune(env *env) repo.PruneOptions {
	return repo.PruneOptions{
		MaxUnused: float64(o.maxUnused), MaxRepack: int64(o.maxRepack), Without: o.without, Lag: o.grace, Sure: o.yes,
		Waiting: func(d time.Duration) {
			env.info(o.common, "waiting %s, until every machine sees what is about to be deleted (--grace sets how long)", duration(d))
		},
	}
}

func runPrune(ctx context.Context, env *env, opts pruneOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	if _, _, err := loadWatched(ctx, env, r, opts.common); err != nil { // warns of missing versions, and records those that exist
		return err
	}
	done, err := prune(ctx, env, opts, r)
	if err == nil && opts.json {
		err = env.printJSON(done)
	}
	if err != nil {
		return err
	}
	return pruned(done)
}

// prune prunes, and prints what it did unless the output is JSON.
func prune(ctx context.Context, env *env, opts pruneOptions, r *repo.Repo) (*repo.Pruned, error) {
	limitMemory(parityMemory(r)) // it makes packs, as a backup does
	defer env.warnHealed(opts.common, r)
	done, err := withProgress(env, opts.common, "prune", func(p *repo.Progress) (*repo.Pruned, error) {
		return r.Prune(ctx, opts.prune(env), func(ctx context.Context, ids []pack.FileID, m *repo.Marks) error {
			return snapshot.Mark(ctx, r, ids, m)
		}, p)
	})
	if err == nil && !opts.json && !opts.quiet {
		printPruned(env, opts, done)
	}
	return done, err
}

func printPruned(env *env, opts pruneOptions, d *repo.Pruned) {
	amount := func(a repo.Amount) string { return fmt.Sprintf("%s in %s", size(a.Bytes), count(a.Packs, "pack")) }
	say := func(format string, args ...any) {
		fmt.Fprintln(env.stdout, printable(fmt.Sprintf(format, args...)))
	}
	for _, note := range d.Notes {
		say("cleared   %s", note)
	}
	say("before    %s", amount(d.Before))
	if d.Repacked.Packs > 0 {
		say("copied    %s out of %s", size(d.Copied), count(d.Repacked.Packs, "pack"))
	}
	say("deleted   %s", amount(d.Deleted))
	say("after     %s, %s of it unused", amount(d.After), size(d.Unused))
	if d.Pending.Packs > 0 {
		say("later     %s", amount(d.Pending))
	}
	for _, l := range d.AtWork {
		say("          when the %s that %s began at %s has ended: run prune again after it", l.Work, l.Host, localTime(l.Time))
	}
	for _, name := range d.Aside {
		say("aside     %s or its map cannot be read, so any pack may be needed: nothing is deleted while it is kept aside; see 'check --read-data'", name)
	}
	if d.Upgraded {
		say("          older versions of platter may be running, which prune cannot see; they cannot start anything new. " +
			"Run prune again when they have ended")
	}
	if d.Full {
		say("full      there was no room to copy data out of more packs")
	}
	if opts.dryRun {
		say("nothing was changed: this was a dry run")
	}
}

// pruned returns an error that wraps errIncomplete if prune found damage.
func pruned(d *repo.Pruned) error {
	if d.Lost > 0 {
		return fmt.Errorf("%w: %s missing, and snapshots need its data; run 'platter check' to see what is lost", errIncomplete, isAre(d.Lost, "pack"))
	}
	if d.Missing > 0 {
		return fmt.Errorf("%w: %s in no index; packs that no index lists stay, because they may hold the data; run 'platter repair index', then 'platter check'",
			errIncomplete, isAre(d.Missing, "chunk that snapshots need"))
	}
	return nil
}
