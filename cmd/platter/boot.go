package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"platter/pack"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/serve/machine"
	"platter/snapshot/serve/nbd"
)

type bootOptions struct {
	common
	servingOptions
	check, net, uefi, bios bool
	expect, screenshot     string
	console, qemu, bus     string
	timeout                time.Duration
	ram                    byteSize
	cpus                   uint
	args                   cli.StringSlice
}

func bootCommand(env *env) *cli.Command {
	opts := bootOptions{ram: 1 << 30}
	return &cli.Command{
		Name:      "boot",
		Usage:     "run a version in a virtual machine, or check that it boots, without restoring it",
		ArgsUsage: "SNAPSHOT",
		Category:  aboutDisks,
		Description: "Runs QEMU, which must be installed, with the disk of SNAPSHOT. The machine starts by UEFI or BIOS, as the disk requires, and has no network. " +
			"Ctrl-C presses its power button; a second Ctrl-C ends it at once, and saves nothing.\n\n" +
			"The stored version never changes: what the machine writes is discarded when it ends, kept in a file (--overlay), or stored as a new version (--save).\n\n" +
			"With --check there is no window. The check passes when the machine shows a login prompt on its serial console, or its guest agent answers. With --expect, it passes when that text appears. " +
			"It fails if the kernel panics, an emergency shell opens, the firmware finds nothing to boot, or --timeout passes. The exit code is then 3. " +
			"The result is stored with the version, and 'snapshots' and 'show' print it.\n\n" + aboutSnapshotArgument,
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "check that the disk boots, and store the result", Destination: &opts.check, DisableDefaultText: true},
			&cli.StringFlag{Name: "expect", Usage: "with --check: pass when `TEXT` appears on the serial console", DefaultText: "a login prompt or an answer of the guest agent", Destination: &opts.expect},
			&cli.DurationFlag{Name: "timeout", Usage: "with --check: fail after `TIME`", Value: 5 * time.Minute, Destination: &opts.timeout},
			&cli.StringFlag{Name: "screenshot", Usage: "with --check: write what the screen shows at the end to a PNG `FILE`", DefaultText: "a file in the cache folder", TakesFile: true, Destination: &opts.screenshot},
			&cli.StringFlag{Name: "console", Usage: "write what the machine prints on its serial port to `FILE`", TakesFile: true, Destination: &opts.console},
			&cli.BoolFlag{Name: "net", Usage: "give the machine network access through this machine", Destination: &opts.net, DisableDefaultText: true},
			&cli.BoolFlag{Name: "uefi", Usage: "start by UEFI instead of what the disk requires", Destination: &opts.uefi, DisableDefaultText: true},
			&cli.BoolFlag{Name: "bios", Usage: "start by BIOS instead of what the disk requires", Destination: &opts.bios, DisableDefaultText: true},
			&cli.GenericFlag{Name: "ram", Usage: "`SIZE` of the machine's memory", Value: &opts.ram},
			&cli.UintFlag{Name: "cpus", Usage: "`N` processors", Value: uint(min(runtime.NumCPU(), 4)), Destination: &opts.cpus},
			&cli.StringFlag{Name: "bus", Usage: "attach the disk to this `BUS`: sata, virtio or nvme", DefaultText: "one for which the system on the disk has a driver", Destination: &opts.bus},
			&cli.StringFlag{Name: "qemu", Usage: "`PROGRAM` to run", DefaultText: "qemu-system-x86_64", Destination: &opts.qemu},
			&cli.StringSliceFlag{Name: "qemu-arg", Usage: "give QEMU one more `ARGUMENT`; may be repeated", Destination: &opts.args},
		}, servingFlags(&opts.servingOptions, "")...), repoFlags(&opts.common)...),
		Action: action(env, &opts, runBoot),
	}
}

func runBoot(ctx context.Context, env *env, opts bootOptions, args []string) error {
	if err := wantArgs(args, "SNAPSHOT"); err != nil {
		return err
	}
	opts.writable = true
	if err := cmp.Or(opts.servingOptions.check(true), opts.validate()); err != nil {
		return err
	}
	s, err := openServing(ctx, env, opts.common, opts.servingOptions, args[0], nil)
	if err != nil {
		return err
	}
	return s.end(ctx, s.boot(ctx, opts))
}

func (o bootOptions) validate() error {
	switch {
	case o.uefi && o.bios:
		return usagef("--uefi and --bios contradict each other: give only one of them")
	case !o.check && (o.expect != "" || o.screenshot != ""):
		return usagef("--expect and --screenshot need --check")
	case o.bus != "" && o.bus != string(machine.SATA) && o.bus != string(machine.Virtio) && o.bus != string(machine.NVMe):
		return usagef("--bus %s: it must be sata, virtio or nvme", o.bus)
	case o.timeout <= 0:
		return usagef("--timeout: give a time such as 5m")
	case o.ram < 64<<20:
		return usagef("--ram: give 64M or more")
	}
	return nil
}

// boot serves the version to a machine until that ends.
func (s *serving) boot(ctx context.Context, opts bootOptions) (err error) {
	folder, err := os.MkdirTemp("", "platter-nbd-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	socket := filepath.Join(folder, "s")
	l, err := nbd.ListenUnix(ctx, socket)
	if err != nil {
		return err
	}
	sctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // the machine ends first
	served := make(chan error, 1)
	go func() {
		served <- nbd.Serve(sctx, l, &nbdExports{s}, nbd.Options{Failed: func(_ string, err error) { s.env.warn(s.c, "%v", err) }})
	}()
	s.env.patient.Store(true)
	err = s.runMachine(ctx, opts, socket)
	stop()
	return errors.Join(err, <-served)
}

func (s *serving) runMachine(ctx context.Context, opts bootOptions, socket string) (err error) {
	o, err := s.machine(ctx, opts, socket)
	if err != nil {
		return err
	}
	if opts.check {
		opts.keepWhatIsSeen(s)
	}
	if opts.console != "" {
		f, err := os.OpenFile(opts.console, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("--console: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		o.Console = f
	}
	m, err := machine.Start(context.WithoutCancel(ctx), o)
	if err != nil {
		return err
	}
	s.served = true
	if opts.check {
		r, err := m.Check(ctx, machine.CheckOptions{Expect: opts.expect, Timeout: opts.timeout, Screenshot: opts.screenshot})
		err = errors.Join(err, m.Close())
		if err != nil {
			return err
		}
		return s.verdict(ctx, opts, r)
	}
	s.env.info(s.c, "running %s of %s by %s; Ctrl-C presses the power button, a second Ctrl-C ends it at once", shortID(s.one.ID), s.one.Name, o.Firmware)
	select {
	case <-m.Done():
	case <-ctx.Done():
		_ = m.PowerDown()
		select {
		case <-m.Done():
		case <-time.After(powerDownWithin):
			s.env.warn(s.c, "the machine did not shut down within %v, and was switched off", powerDownWithin)
		}
	}
	return errors.Join(m.Err(), m.Close())
}

// keepWhatIsSeen makes a check keep its console and screenshot beside the cache, if the user names no files. Those of the
// next check of the version replace them.
func (o *bootOptions) keepWhatIsSeen(s *serving) {
	folder := cacheFolder(s.env, s.c)
	if folder == "" {
		return
	}
	folder = filepath.Join(folder, s.repo.ID(), "boot")
	if os.MkdirAll(folder, 0o700) != nil {
		return // the check works without them
	}
	o.console = cmp.Or(o.console, filepath.Join(folder, shortID(s.one.ID)+".txt"))
	o.screenshot = cmp.Or(o.screenshot, filepath.Join(folder, shortID(s.one.ID)+".png"))
}

// powerDownWithin is how long a machine may take to shut down.
const powerDownWithin = time.Minute

// machine describes the machine that fits the disk.
func (s *serving) machine(ctx context.Context, opts bootOptions, socket string) (machine.Options, error) {
	disk, err := s.library.OpenPart(ctx, s.one, s.part)
	if err != nil {
		return machine.Options{}, err
	}
	defer disk.Close()
	var look *anatomy.Disk
	if s.part.Name == "" {
		if look, err = s.one.ReadAnatomy(ctx, s.repo); err != nil {
			return machine.Options{}, err
		}
	}
	o := machine.Options{
		QEMU: opts.qemu, Socket: socket, Firmware: machine.FirmwareOf(disk, look), Bus: machine.BusOf(look, s.one.Source.Kind == image.KindDevice),
		Memory: int64(opts.ram), CPUs: int(opts.cpus), Net: opts.net, Headless: opts.check, Args: opts.args.Value(),
	}
	if opts.bus != "" {
		o.Bus = machine.Bus(opts.bus)
	}
	switch {
	case opts.uefi:
		o.Firmware = machine.UEFI
	case opts.bios:
		o.Firmware = machine.BIOS
	}
	return o, nil
}

// errNotBooted says that a check found that a disk does not boot.
var errNotBooted = fmt.Errorf("%w: the disk does not boot", errIncomplete)

// verdict stores and prints what a check found.
func (s *serving) verdict(ctx context.Context, opts bootOptions, r machine.Result) error {
	v := repo.Verdict{
		Snapshot: s.one.ID, Test: repo.BootTest, Passed: r.Passed, Reason: r.Reason, Time: s.env.now(),
		Seconds: float64(r.Took.Milliseconds()) / 1000, Platter: buildVersion().Version,
	}
	if err := s.repo.PutVerdict(ctx, v); err != nil {
		s.env.warn(s.c, "the result cannot be stored with the version: %v", err)
	}
	var err error
	if s.c.json {
		err = s.env.printJSON(verdictJSON{s.one.ID.String(), s.one.Name, v.Test, v.Passed, v.Reason, v.Seconds, opts.console, opts.screenshot})
	} else {
		fmt.Fprintf(s.env.stdout, "%s of %s %s: %s, after %s\n", shortID(s.one.ID), s.one.Name, bootWord(r.Passed), r.Reason, duration(r.Took))
	}
	if err == nil && !r.Passed {
		return fmt.Errorf("%w%s", errNotBooted, opts.whatIsSeen())
	}
	return err
}

// whatIsSeen says where the console and the screenshot are.
func (o *bootOptions) whatIsSeen() string {
	files := slices.DeleteFunc([]string{o.console, o.screenshot}, func(name string) bool {
		_, err := os.Stat(name)
		return name == "" || err != nil
	})
	if len(files) == 0 {
		return ""
	}
	return "; what it showed is in " + strings.Join(files, " and ")
}

type verdictJSON struct {
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Test    string  `json:"test"`
	Passed  bool    `json:"passed"`
	Reason  string  `json:"reason"`
	Seconds float64 `json:"seconds"`
	// Files of this machine with what the machine showed; absent if there are none.
	Console    string `json:"console,omitempty"`
	Screenshot string `json:"screenshot,omitempty"`
}

func bootWord(passed bool) string {
	if passed {
		return "boots"
	}
	return "does not boot"
}

// bootVerdicts returns the newest boot check of each snapshot. What cannot be read is left out, with a warning.
func bootVerdicts(ctx context.Context, env *env, c common, r *repo.Repo) map[pack.FileID]repo.Verdict {
	all, bad, err := r.Verdicts(ctx)
	for _, err := range append(bad, err) {
		if err != nil && ctx.Err() == nil {
			env.warn(c, "the result of a boot check cannot be read: %v", err)
		}
	}
	newest := map[pack.FileID]repo.Verdict{}
	for _, v := range all { // the oldest first
		if v.Test == repo.BootTest {
			newest[v.Snapshot] = v
		}
	}
	return newest
}

// bootJSON is a boot check as --json prints it with its version.
type bootJSON struct {
	Passed bool      `json:"passed"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
	Host   string    `json:"host"`
}

// withVerdict is asJSON with the newest boot check.
func withVerdict(s *snapshot.Snapshot, verdicts map[pack.FileID]repo.Verdict) snapshotJSON {
	j := asJSON(s)
	if v, ok := verdicts[s.ID]; ok {
		j.Boot = &bootJSON{v.Passed, v.Reason, v.Time, v.Host}
	}
	return j
}

// bootLine describes a boot check; "" for none.
func bootLine(j snapshotJSON) string {
	if j.Boot == nil {
		return ""
	}
	return fmt.Sprintf("%s, checked %s by %s: %s", bootWord(j.Boot.Passed), localTime(j.Boot.Time), j.Boot.Host, j.Boot.Reason)
}
