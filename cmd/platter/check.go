package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
)

type checkOptions struct {
	common
	readPacks, readData, withoutKey bool
	sample                          percentage
}

func checkCommand(env *env) *cli.Command {
	opts := checkOptions{sample: 1}
	boolean := func(name, usage string, to *bool) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Destination: to, DisableDefaultText: true}
	}
	return &cli.Command{
		Name:     "check",
		Usage:    "look for damage, and tell what it costs",
		Category: aboutRepository,
		Description: "Reads every snapshot, map, index file and key, and the table of every pack. Damage is listed by file, and then by " +
			"the versions and byte ranges of disks that it costs; the exit code is 3.",
		Flags: append([]cli.Flag{
			boolean("read-packs", "compare the bytes of every pack with its name", &opts.readPacks),
			boolean("read-data", "open every chunk and compute its id again", &opts.readData),
			&cli.GenericFlag{Name: "sample", Usage: "read only this `SHARE` of the packs, chosen by chance", Value: &opts.sample},
			boolean("without-key", "only compare files with their names, which takes no password: for use on the NAS itself", &opts.withoutKey),
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runCheck),
	}
}

func runCheck(ctx context.Context, env *env, opts checkOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	if opts.withoutKey && (opts.readData || opts.sample < 1) {
		return usagef("--without-key reads all files and opens none: it goes with neither --read-data nor --sample")
	}
	if opts.sample < 1 && !opts.readData {
		opts.readPacks = true
	}
	var p repo.Progress
	stop := func() {}
	defer func() { stop() }()
	result := checkJSON{Damage: []string{}, Notes: []string{}, Lost: []lossJSON{}}
	if opts.withoutKey {
		s, err := openStore(opts.common)
		if err != nil {
			return err
		}
		stop = env.progress(opts.common, "check", &p)
		if result.Report, err = repo.CheckNames(ctx, s, runtime.GOMAXPROCS(0), &p); err != nil {
			return openError(opts.common, err)
		}
	} else {
		opts.noCache = true // what is to be looked at is the repository
		r, err := openRepo(ctx, env, opts.common)
		if err != nil {
			return err
		}
		stop = env.progress(opts.common, "check", &p)
		if err := checkAll(ctx, r, opts, &result, &p); err != nil {
			return err
		}
	}
	stop()
	return printCheck(env, opts, &result)
}

// checkAll looks at files, then at what the maps make of them.
func checkAll(ctx context.Context, r *repo.Repo, opts checkOptions, result *checkJSON, p *repo.Progress) (err error) {
	all, bad, err := snapshot.Load(ctx, r) // before the index, which then lists all they are made of
	if err != nil {
		return err
	}
	o := repo.CheckOptions{ReadPacks: opts.readPacks, ReadData: opts.readData, Sample: float64(opts.sample)}
	if result.Report, err = r.Check(ctx, o, p); err != nil {
		return err
	}
	for _, err := range bad {
		result.Damage = append(result.Damage, err.Error())
	}
	losses, err := snapshot.CheckMaps(ctx, r, all, result.Report.Bad)
	if err != nil {
		return err
	}
	result.Report.AddHealed(r.Healed()) // maps were read in spite of some damage
	for _, l := range losses {
		lost := lossJSON{Snapshot: l.Snapshot.ID.String(), Name: l.Snapshot.Name, Time: localTime(l.Snapshot.Time), Ranges: l.Ranges}
		for _, reason := range l.Reasons {
			lost.Reasons = append(lost.Reasons, reason.Error())
			if errors.Is(reason, repo.ErrMissing) {
				result.Report.Advise(repo.HintIndex)
			}
		}
		for _, q := range l.Ranges {
			lost.Bytes += q.Len
		}
		result.Lost = append(result.Lost, lost)
	}
	return nil
}

// checkJSON is what check --json prints.
type checkJSON struct {
	Report *repo.Report `json:"-"`
	Damage []string     `json:"damage"`
	Lost   []lossJSON   `json:"lost"`
	Notes  []string     `json:"notes"`
	Advice []string     `json:"advice,omitempty"`

	Packs     int   `json:"packs"`
	PackBytes int64 `json:"pack_bytes"`
	ReadBytes int64 `json:"read_bytes"`
	Parity    int   `json:"parity_files"`
	ParBytes  int64 `json:"parity_bytes"`
	Snapshots int   `json:"snapshots"`
	Indexes   int   `json:"index_files"`
	Keys      int   `json:"keys"`
}

// lossJSON is what damage costs one snapshot.
type lossJSON struct {
	Snapshot string           `json:"snapshot"`
	Name     string           `json:"name"`
	Time     string           `json:"time"`
	Bytes    int64            `json:"bytes"`
	Ranges   []snapshot.Range `json:"ranges"`
	Reasons  []string         `json:"reasons"`
}

func printCheck(env *env, opts checkOptions, c *checkJSON) error {
	r := c.Report
	c.Damage, c.Notes, c.Advice = append(r.Damage, c.Damage...), append(c.Notes, r.Notes...), r.Hints
	c.Packs, c.PackBytes, c.ReadBytes = r.Packs, r.PackBytes, r.ReadBytes
	c.Parity, c.ParBytes = r.Parity, r.ParityBytes
	c.Snapshots, c.Indexes, c.Keys = r.Snapshots, r.Indexes, r.Slots
	if c.Damage == nil {
		c.Damage = []string{} // an empty list, not null
	}
	if opts.json {
		if err := env.printJSON(c); err != nil {
			return err
		}
	} else {
		printCheckText(env, opts, c)
	}
	if n := len(c.Damage) + len(c.Lost); n > 0 {
		return fmt.Errorf("%w: %s damaged or missing, %s not whole", errIncomplete, isAre(len(c.Damage), "file"), isAre(len(c.Lost), "snapshot"))
	}
	return nil
}

func printCheckText(env *env, opts checkOptions, c *checkJSON) {
	say := func(format string, args ...any) { fmt.Fprintln(env.stdout, printable(fmt.Sprintf(format, args...))) }
	for _, line := range c.Damage {
		say("damage: %s", line)
	}
	for _, l := range c.Lost {
		say("lost: %s of %s, %s: %s in %s", l.Snapshot[:8], l.Name, l.Time, size(l.Bytes), count(len(l.Ranges), "range"))
		for _, q := range l.Ranges {
			say("  bytes %d to %d", q.Off, q.Off+q.Len)
		}
		for _, reason := range l.Reasons {
			say("  because %s", reason)
		}
	}
	for _, line := range c.Notes {
		say("note: %s", line)
	}
	for _, line := range c.Advice {
		say("advice: %s", line)
	}
	parity := ""
	if c.Parity > 0 {
		parity = fmt.Sprintf(", %s (%s)", count(c.Parity, "parity file"), size(c.ParBytes))
	}
	say("%s, %s, %s (%s)%s, %s; %s of packs read", count(c.Snapshots, "snapshot"), count(c.Indexes, "index file"),
		count(c.Packs, "pack"), size(c.PackBytes), parity, count(c.Keys, "key"), size(c.ReadBytes))
	if len(c.Damage)+len(c.Lost) == 0 {
		say("no damage found")
	}
}

// isAre words what is so of a number of things.
func isAre(n int, what string) string {
	if n == 1 {
		return count(n, what) + " is"
	}
	return count(n, what) + " are"
}

// count words a number of things.
func count(n int, what string) string {
	if n != 1 && strings.HasSuffix(what, "x") {
		what += "es"
	} else if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
