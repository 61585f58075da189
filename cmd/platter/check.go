package main

import (
	"context"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
)

type checkOptions struct {
	common
	readPacks, readData, withoutKey, readOnly bool
	sample                                    percentage
	sinceDays                                 int
}

func checkCommand(env *env) *cli.Command {
	opts := checkOptions{sample: 1}
	boolean := func(name, usage string, to *bool) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Destination: to, DisableDefaultText: true}
	}
	return &cli.Command{
		Name:     "check",
		Usage:    "look for damage and list what is lost",
		Category: aboutRepository,
		Description: "Reads every snapshot, map, index file and key, and the table of every pack. " +
			"It lists damaged files, then the byte ranges that each version has lost, and exits with 3 if there are any. Backups and a prune can run at the same time.\n\n" +
			"The repository records which packs are damaged. Backups do not build on them and store their data again when they read the same data, which mends older versions too. " +
			"A check removes the record when it has read the pack and found it whole, or when the pack is deleted.\n\n" +
			"This machine remembers which packs it read in full, for --sample and --since-days. " +
			"'check --read-data --since-days 30 --sample 5%' every night reads all of a large repository about once a month.",
		Flags: append([]cli.Flag{
			boolean("read-data", "read and verify all data: decrypt every chunk and compare it with its ID", &opts.readData),
			boolean("read-packs", "read every pack and compare its bytes with its name, without decrypting", &opts.readPacks),
			&cli.GenericFlag{Name: "sample", Usage: "read only this `SHARE` of all pack bytes, those that this machine read longest ago first", Value: &opts.sample},
			&cli.IntFlag{Name: "since-days", Usage: "read only packs that this machine has not read for `DAYS`", Destination: &opts.sinceDays, DefaultText: "all"},
			boolean("read-only", "write nothing to the repository, not even which packs are damaged", &opts.readOnly),
			boolean("without-key", "only compare files with their names, without a password: for use on the NAS itself", &opts.withoutKey),
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runCheck),
	}
}

func runCheck(ctx context.Context, env *env, opts checkOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	if err := opts.validate(env); err != nil {
		return err
	}
	if (opts.sample < 1 || opts.sinceDays > 0) && !opts.readData {
		opts.readPacks = true
	}
	var p repo.Progress
	stop := func() {}
	defer func() { stop() }()
	result := checkJSON{Damage: []string{}, Notes: []string{}, Lost: []lossJSON{}}
	if opts.withoutKey {
		s, err := openStore(env, opts.common)
		if err != nil {
			return err
		}
		stop = env.progress(opts.common, "check", &p)
		if result.Report, err = repo.CheckNames(ctx, s, runtime.GOMAXPROCS(0), &p); err != nil {
			return openError(opts.common, err)
		}
	} else {
		opts.memoryOnly = true // a check reads the repository itself
		r, err := openRepo(ctx, env, opts.common)
		if err != nil {
			return err
		}
		stop = env.progress(opts.common, "check", &p)
		if err := checkAll(ctx, env, r, opts, &result, &p); err != nil {
			return err
		}
	}
	stop()
	return printCheck(env, opts, &result)
}

func (o checkOptions) validate(env *env) error {
	switch {
	case o.withoutKey && (o.readData || o.sample < 1 || o.sinceDays != 0):
		return usagef("--without-key decrypts nothing, so it excludes --read-data, --sample and --since-days")
	case o.sinceDays < 0 || o.sinceDays > 36500:
		return usagef("--since-days %d: give a number of days, 1 to 36500", o.sinceDays)
	case o.sinceDays > 0 && cacheFolder(env, o.common) == "":
		return usagef("--since-days needs the cache, where this machine records what it has read")
	}
	return nil
}

// checkAll checks the repository, warns of missing versions, and reviews what is kept aside.
func checkAll(ctx context.Context, env *env, r *repo.Repo, opts checkOptions, result *checkJSON, p *repo.Progress) (err error) {
	o := snapshot.CheckAllOptions{
		CheckOptions: repo.CheckOptions{
			ReadPacks: opts.readPacks, ReadData: opts.readData, Sample: float64(opts.sample),
			Since: time.Duration(opts.sinceDays) * 24 * time.Hour, ReadOnly: opts.readOnly,
		},
		Loaded: func(l *snapshot.Loaded) { env.warnMissing(opts.common, l.Missing) },
		Review: func(ctx context.Context, found *snapshot.CheckResult) error {
			result.Report = found.Report
			for _, err := range found.Unreadable {
				result.Damage = append(result.Damage, err.Error())
			}
			for _, l := range found.Losses {
				result.Lost = append(result.Lost, lossOf(l))
			}
			return reviewAside(ctx, r, opts, result, len(found.Unreadable))
		},
	}
	_, err = snapshot.CheckAll(ctx, r, o, p)
	return err
}
