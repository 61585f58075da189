package main

import (
	"fmt"
	"strings"

	"platter/repo"
)

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
	Aside     int   `json:"aside"` // snapshots that were removed as damaged and are kept aside
	Indexes   int   `json:"index_files"`
	Keys      int   `json:"keys"`
	Odd       int   `json:"odd_files"`      // that do not belong to the repository; notes name the first
	Leftover  int   `json:"leftover_files"` // of interrupted writes; notes name the first

	PacksRead int         `json:"packs_read"`
	Recent    int         `json:"packs_read_lately"` // and so not read again
	Noted     int         `json:"noted"`             // damaged packs, now
	Earlier   int         `json:"noted_before"`
	Cleared   int         `json:"cleared"`
	Missed    []repo.Seen `json:"missing_snapshots"` // that this machine saw and that were not forgotten
}

func printCheck(env *env, opts checkOptions, c *checkJSON) error {
	r := c.Report
	c.Damage, c.Notes, c.Advice = append(r.Damage, c.Damage...), append(c.Notes, r.Notes...), r.Hints
	c.Packs, c.PackBytes, c.ReadBytes = r.Packs, r.PackBytes, r.ReadBytes
	c.Parity, c.ParBytes = r.Parity, r.ParityBytes
	c.Snapshots, c.Indexes, c.Keys = r.Snapshots, r.Indexes, r.Slots
	c.Aside = r.Aside
	c.Odd, c.Leftover = r.Odd, r.Leftover
	c.PacksRead, c.Recent, c.Noted, c.Earlier, c.Cleared = r.PacksRead, r.Recent, r.Noted, r.Earlier, r.Cleared
	if r.Unnoted != nil {
		env.warn(opts.common, "the repository could not record what is damaged, so backups still build on it: %v", r.Unnoted)
	}
	if r.Forgetful != nil {
		env.warn(opts.common, "this machine could not remember which packs were read: %v", r.Forgetful)
	}
	c.Missed = append([]repo.Seen{}, opts.watch.missing...) // an empty list, not null
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
		printLoss(env, l)
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
	if line := readText(opts, c.Report); line != "" {
		say("%s", line)
	}
	if c.Noted > 0 {
		say("noted that %s damaged: the next backups store the data of %s again", isAre(c.Noted, "pack"), themIt(c.Noted))
	}
	if c.Earlier > 0 {
		say("%s noted as damaged since an earlier check: backups store the data of %s again", isAre(c.Earlier, "pack"), themIt(c.Earlier))
	}
	if c.Cleared > 0 {
		say("%s no longer noted as damaged", isAre(c.Cleared, "pack"))
	}
	if len(c.Damage)+len(c.Lost) == 0 {
		say("no damage found")
	}
}

// readText says which packs were read, if only a part was asked for.
func readText(opts checkOptions, r *repo.Report) string {
	if opts.sinceDays == 0 && opts.sample == 1 {
		return ""
	}
	text := fmt.Sprintf("%d of %s read", r.PacksRead, count(r.Packs, "pack"))
	switch others := r.Packs - r.PacksRead; {
	case others == 0:
		return text
	case r.Recent == others:
		return fmt.Sprintf("%s, the others within the last %s", text, count(opts.sinceDays, "day"))
	case r.Recent > 0:
		return fmt.Sprintf("%s, those read longest ago; %d others within the last %s", text, r.Recent, count(opts.sinceDays, "day"))
	}
	return text + ", those read longest ago"
}

func themIt(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// isAre formats a number of things and its verb.
func isAre(n int, what string) string {
	if n == 1 {
		return count(n, what) + " is"
	}
	return count(n, what) + " are"
}

// count formats a number of things.
func count(n int, what string) string { return count64(int64(n), what) }

func count64(n int64, what string) string {
	if n != 1 && strings.HasSuffix(what, "x") {
		what += "es"
	} else if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
