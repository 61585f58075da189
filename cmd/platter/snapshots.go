package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
)

type snapshotsOptions struct {
	common
	name, host      string
	fs, label, uuid string
	tags            cli.StringSlice
	accept          bool
}

func snapshotsCommand(env *env) *cli.Command {
	var opts snapshotsOptions
	return &cli.Command{
		Name:     "snapshots",
		Aliases:  []string{"list", "ls"},
		Usage:    "list the stored versions",
		Category: aboutDisks,
		Description: "Every command compares the repository with what this machine saw of it before: its identity and all its versions. " +
			"If a version is missing that was not forgotten, it warns and exits with 3, and neither 'prune' nor a policy of 'forget' deletes anything. " +
			"--accept ends that. Use it if you restored the repository from an earlier copy, or replaced it with another one.\n\n" +
			"If several of --fs, --label and --uuid are given, they must match the same partition. " +
			"They do not match versions that an older platter stored, which do not record what is on the disk.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "list only disks called `NAME`", Destination: &opts.name},
			&cli.StringFlag{Name: "host", Usage: "list only disks of `HOST`", Destination: &opts.host},
			&cli.StringSliceFlag{Name: "tag", Usage: "list only versions with this `TAG`; may be repeated", Destination: &opts.tags},
			&cli.StringFlag{Name: "fs", Usage: "list only disks with a file system of this `TYPE`, as 'show' prints it: ext4, FAT32, crypto_LUKS, …", Destination: &opts.fs},
			&cli.StringFlag{Name: "label", Usage: "list only disks with a file system or partition called `LABEL`", Destination: &opts.label},
			&cli.StringFlag{Name: "uuid", Usage: "list only disks with this `UUID` of a file system, a partition or the partition table", Destination: &opts.uuid},
			&cli.BoolFlag{Name: "accept", Usage: "accept the repository as it is now, although versions that this machine saw are missing", Destination: &opts.accept, DisableDefaultText: true},
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runSnapshots),
	}
}

func runSnapshots(ctx context.Context, env *env, opts snapshotsOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	if opts.accept && cacheFolder(env, opts.common) == "" {
		return usagef("--accept needs the cache, where this machine records the versions that it has seen")
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	all, bad, err := loadWatched(ctx, env, r, opts.common)
	if err != nil {
		return err
	}
	if opts.accept {
		if err := env.accept(opts.common, r, all); err != nil {
			return err
		}
	}
	filter := snapshot.Filter{Name: opts.name, Host: opts.host, Tags: opts.tags.Value(), Type: opts.fs, Label: opts.label, UUID: opts.uuid}
	list := []snapshotJSON{}
	verdicts := bootVerdicts(ctx, env, opts.common, r)
	columns := []string{"ID", "Time", "Name", "Host", ">Disk", ">Data", ">Stored", "Tags"}
	if len(verdicts) > 0 {
		columns = append(columns, "Boots")
	}
	table := newTable(columns...)
	for _, s := range all {
		if filter.Match(s) {
			v, tested := verdicts[s.ID]
			list = append(list, withVerdict(s, verdicts))
			row := []string{shortID(s.ID), localTime(s.Time), s.Name, s.Host, size(s.Size), size(s.Stats.Data), size(s.Stats.Stored), strings.Join(s.Tags, ",")}
			if tested {
				row = append(row, map[bool]string{true: "yes", false: "no"}[v.Passed])
			}
			table.row(row...)
		}
	}
	switch {
	case opts.json:
		err = env.printJSON(list)
	case len(list) > 0:
		table.print(env)
	default:
		env.info(opts.common, "no snapshots")
	}
	if err == nil && len(bad) > 0 {
		err = unreadable(bad)
	}
	return err
}

// unreadable returns the error that snapshot files cannot be read, so that a list is not complete.
func unreadable(bad []error) error {
	lines := make([]string, len(bad))
	for i, err := range bad {
		lines[i] = err.Error()
	}
	return fmt.Errorf("%w: %s cannot be read; restore their files from a copy of the repository:\n%s", errIncomplete, count(len(bad), "snapshot"), strings.Join(lines, "\n"))
}

// loadSnapshots returns the snapshots that can be read, oldest first, and warns of the others.
func loadSnapshots(ctx context.Context, env *env, r *repo.Repo, c common) ([]*snapshot.Snapshot, error) {
	all, bad, err := loadWatched(ctx, env, r, c)
	for _, err := range bad {
		env.warn(c, "a snapshot cannot be read: %v", err)
	}
	return all, err
}

// snapshotJSON is a snapshot as --json prints it: its file, and the file's name.
type snapshotJSON struct {
	ID string `json:"id,omitempty"`
	*snapshot.Snapshot
	Boot *bootJSON `json:"boot,omitempty"` // the newest boot check
}

func asJSON(s *snapshot.Snapshot) snapshotJSON { return snapshotJSON{ID: s.ID.String(), Snapshot: s} }
