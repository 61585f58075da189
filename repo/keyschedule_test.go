package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// A keySession is a command that changes keys, in a repository that it has opened with a slot's password.
type keySession struct {
	slot    int // the slot that opened the repository
	removes int // the slot that it removes; -1 to change its own password
}

// A keyGame is one play of several sessions, one store operation at a time. Each move chooses which session goes on and
// whether it is killed first. It also chooses whether the answer is lost, and how old the listing is.
type keyGame struct {
	*keyWorld
	mem      *store.Mem
	sessions []*keyPlayer
	listings [][]store.Info // all past listings of the keys folder
	kills    int            // sessions that may still be killed
	losses   int            // answers that may still be lost
}

// A keyWorld is the starting point of all plays.
type keyWorld struct {
	t        *testing.T
	files    map[string][]byte
	template *Repo
	slots    []pack.FileID
	sessions []keySession
	kills    int
	losses   int
	stale    bool            // listings may be old
	goOn     map[string]bool // sets of keys from which a play went on without a fault
}

// A keyPlayer is a session at play.
type keyPlayer struct {
	keySession
	game    *keyGame
	asks    chan string
	answers chan keyMove // how to go on
	done    bool
	dead    bool
	pending string      // the operation that it waits for
	history []string    // what it did and saw
	fresh   pack.FileID // the slot that it has made
	err     error       // the final result
}

// A keyMove is one choice.
type keyMove struct {
	session int
	kill    bool
	lose    bool
	listing int // how many listings ago
}

var _ store.Store = (*keyPlayer)(nil)

func (k *keyPlayer) Close() error { return nil }

func (p *keyPlayer) ask(op string) (keyMove, error) {
	if p.dead {
		return keyMove{}, errKilled
	}
	p.asks <- op
	m := <-p.answers
	if p.dead = m.kill; m.kill {
		return m, errKilled
	}
	return m, nil
}

// saw records an operation and its result.
func (p *keyPlayer) saw(m keyMove, op string, err error) error {
	if m.lose && err == nil {
		err = errBroken
	}
	p.history = append(p.history, fmt.Sprint(op, " ", err))
	return err
}

func (p *keyPlayer) change(op, name string, do func(*store.Mem) error) error {
	m, err := p.ask(op + " " + name)
	if err != nil {
		return err
	}
	if err = do(p.game.mem); err == nil {
		p.game.listings = append(p.game.listings, p.game.keys())
	}
	return p.saw(m, op+" "+p.game.plain(name), err)
}

func (p *keyPlayer) Put(ctx context.Context, name string, data []byte) error {
	return p.change("put", name, func(m *store.Mem) error {
		p.fresh, _ = pack.ParseFileID(name[len(layout.Keys)+1:])
		return m.Put(ctx, name, data)
	})
}

func (p *keyPlayer) Create(ctx context.Context, name string, data []byte) error {
	return p.change("create", name, func(m *store.Mem) error { return m.Create(ctx, name, data) })
}

func (p *keyPlayer) Delete(ctx context.Context, name string) error {
	return p.change("delete", name, func(m *store.Mem) error { return m.Delete(ctx, name) })
}

func (p *keyPlayer) Move(ctx context.Context, from, to string) error {
	return p.change("move", from, func(m *store.Mem) error { return m.Move(ctx, from, to) })
}

func (p *keyPlayer) Touch(ctx context.Context, name string) error {
	return p.change("touch", name, func(m *store.Mem) error { return m.Touch(ctx, name) })
}

func (p *keyPlayer) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	m, err := p.ask("get " + name)
	if err != nil {
		return nil, err
	}
	data, err := p.game.mem.Get(ctx, name, off, n)
	return data, p.saw(m, "get "+p.game.plain(name), err)
}

func (p *keyPlayer) List(_ context.Context, dir string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		m, err := p.ask("list " + dir)
		if err != nil {
			yield(store.Info{}, err)
			return
		}
		seen := p.game.listings[len(p.game.listings)-1-m.listing]
		_ = p.saw(m, "list "+p.game.names(seen), nil)
		for _, info := range seen {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (g *keyGame) keys() (infos []store.Info) {
	for info, err := range g.mem.List(context.Background(), layout.Keys) {
		if err != nil {
			g.t.Fatal(err)
		}
		infos = append(infos, info)
	}
	if len(infos) > 1 {
		slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(g.plain(a.Name), g.plain(b.Name)) })
	}
	return infos
}

// plain returns a name that is the same in all plays, although the real names are random.
func (g *keyGame) plain(name string) string {
	id, err := pack.ParseFileID(name[len(layout.Keys)+1:][:len(pack.FileID{})*2])
	if err != nil {
		g.t.Fatal(err)
	}
	end := ""
	if strings.Contains(name, layout.RemovingMark) {
		end = layout.RemovingMark
	}
	if i := slices.Index(g.slots, id); i >= 0 {
		return fmt.Sprint(layout.Keys, "/slot", i, end)
	}
	i := slices.IndexFunc(g.sessions, func(p *keyPlayer) bool { return p.fresh == id })
	return fmt.Sprint(layout.Keys, "/fresh", i, end)
}

func (g *keyGame) names(infos []store.Info) string {
	var names []string
	for _, info := range infos {
		names = append(names, g.plain(info.Name))
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// state returns the same text for plays that can only go on in the same ways.
func (g *keyGame) state() string {
	var b strings.Builder
	fmt.Fprintln(&b, g.names(g.keys()), g.kills, g.losses)
	for _, p := range g.sessions {
		fmt.Fprintln(&b, p.done, p.dead, p.history)
	}
	if g.stale {
		for _, l := range g.distinct() {
			fmt.Fprintln(&b, g.names(g.listings[len(g.listings)-1-l]))
		}
	}
	return b.String()
}

// distinct returns the ages of the listings that differ, the newest of each kind.
func (g *keyGame) distinct() (ages []int) {
	seen := map[string]bool{}
	for age := range g.listings {
		names := g.names(g.listings[len(g.listings)-1-age])
		if !seen[names] {
			seen[names] = true
			ages = append(ages, age)
		}
	}
	return ages
}

// moves returns all possible next moves.
func (g *keyGame) moves() (out []keyMove) {
	for i, p := range g.sessions {
		if p.done {
			continue
		}
		out = append(out, keyMove{session: i})
		if g.kills > 0 {
			out = append(out, keyMove{session: i, kill: true})
		}
		op, _, _ := strings.Cut(p.pending, " ")
		switch {
		case op == "list" && g.stale:
			for _, age := range g.distinct()[1:] {
				out = append(out, keyMove{session: i, listing: age})
			}
		case g.losses > 0 && op != "list" && op != "get":
			out = append(out, keyMove{session: i, lose: true})
		}
	}
	return out
}

// play makes one move.
func (g *keyGame) play(m keyMove) {
	p := g.sessions[m.session]
	if m.kill {
		g.kills--
	}
	if m.lose {
		g.losses--
	}
	p.answers <- m
	p.wait()
}

func (p *keyPlayer) wait() { p.pending, p.done = "", true; p.next() }

func (p *keyPlayer) next() {
	if op, ok := <-p.asks; ok {
		p.pending, p.done = op, false
	}
}

func (w *keyWorld) start() *keyGame {
	g := &keyGame{keyWorld: w, mem: storetest.MemOf(w.t, w.files), kills: w.kills, losses: w.losses}
	g.listings = append(g.listings, g.keys())
	for _, s := range w.sessions {
		p := &keyPlayer{keySession: s, game: g, asks: make(chan string), answers: make(chan keyMove)}
		g.sessions = append(g.sessions, p)
		go func() {
			defer close(p.asks)
			r := &Repo{id: w.template.id, master: w.template.master, config: w.template.config, slot: w.slots[s.slot]}
			r.setStore(p)
			if s.removes >= 0 {
				_, p.err = r.RemoveSlot(context.Background(), w.slots[s.removes].String())
			} else {
				_, p.err = r.ChangePassword(context.Background(), []byte("fresh"), cheap, "")
			}
		}()
		p.wait()
	}
	return g
}

// stop ends all sessions.
func (g *keyGame) stop() {
	for i, p := range g.sessions {
		if !p.done {
			g.play(keyMove{session: i, kill: true})
		}
	}
}

// safe checks what must hold at any time: some key is there.
func (g *keyGame) safe() error {
	if len(g.keys()) == 0 {
		return errors.New("no key is left")
	}
	return nil
}

// over checks what must hold when all sessions have ended.
func (g *keyGame) over() error {
	there := map[string]bool{}
	for _, info := range g.keys() {
		there[g.plain(info.Name)] = true
	}
	named := slices.ContainsFunc(slices.Collect(maps.Keys(there)), func(name string) bool { return !strings.Contains(name, layout.RemovingMark) })
	if !named && g.kills == g.keyWorld.kills && g.losses == g.keyWorld.losses {
		return errors.New("no session was killed, and no key has its own name")
	}
	for i, p := range g.sessions {
		gone := p.removes
		if gone < 0 {
			gone = p.slot
		}
		mine := fmt.Sprintf("%s/slot%d", layout.Keys, gone)
		if p.err == nil && (there[mine] || there[mine+layout.RemovingMark]) {
			return fmt.Errorf("session %d returned success for removing %s, which still exists", i, mine)
		}
		if fresh := fmt.Sprintf("%s/fresh%d", layout.Keys, i); p.err == nil && p.removes < 0 && !there[fresh] {
			return fmt.Errorf("session %d returned success for making %s, which is missing", i, fresh)
		}
	}
	// How the repository goes on depends on its keys alone.
	if keys := g.names(g.keys()); !g.goOn[keys] {
		if err := g.goesOn(); err != nil {
			return err
		}
		g.goOn[keys] = true
	}
	return nil
}

// goesOn opens the repository with whichever password still works, and changes it.
func (g *keyGame) goesOn() error {
	ctx := context.Background()
	for _, password := range []string{"pw0", "pw1", "pw2", "fresh"} {
		r, err := Open(ctx, g.mem, []byte(password))
		if errors.Is(err, crypt.ErrWrongPassword) {
			continue
		}
		if err == nil {
			_, err = r.ChangePassword(ctx, []byte("next"), cheap, "")
		}
		if err == nil {
			r, err = Open(ctx, g.mem, []byte("next"))
		}
		if err != nil {
			return err
		}
		for _, info := range g.keys() { // everything left behind can be removed
			if id, ok := layout.ParseRemoving(info); ok {
				if _, err := r.RemoveSlot(ctx, id.String()); err != nil {
					return err
				}
			}
		}
		for _, info := range g.keys() {
			if removing(info) {
				return fmt.Errorf("%s is left over", info.Name)
			}
		}
		return nil
	}
	return errors.New("no password opens it")
}

// explore plays all plays, but goes on only once from each state.
func (w *keyWorld) explore() (plays, states int, err error) {
	type choice struct{ made, of int }
	var path []choice
	seen := map[string]bool{}
	for {
		g := w.start()
		plays++
		depth, made, ops := 0, []keyMove{}, []string{}
		for err == nil {
			moves := g.moves()
			if depth == len(path) {
				state := g.state()
				if seen[state] {
					break
				}
				seen[state] = true
				if len(moves) == 0 {
					err = g.over()
					break
				}
				path = append(path, choice{0, len(moves)})
			}
			m := moves[path[depth].made]
			made, ops = append(made, m), append(ops, g.sessions[m.session].pending)
			depth++
			g.play(m)
			err = g.safe()
		}
		g.stop()
		if err != nil {
			var trace strings.Builder
			for i, m := range made {
				fmt.Fprintf(&trace, "\n%+v: %s", m, ops[i])
			}
			return plays, len(seen), fmt.Errorf("%w, after%s", err, &trace)
		}
		for len(path) > 0 && path[len(path)-1].made == path[len(path)-1].of-1 {
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			return plays, len(seen), nil
		}
		path[len(path)-1].made++
	}
}

// TestKeySchedules plays concurrent sessions that change keys, in every order of their store operations. Listings may
// be of any age, sessions are killed between any two operations, and answers are lost. The last key is never removed,
// and a session that reports a key as removed tells the truth.
func TestKeySchedules(t *testing.T) {
	const passwd = -1
	for _, test := range []struct {
		name          string
		slots         int
		sessions      []keySession
		kills, losses int
		stale         bool
	}{
		{"each other", 2, []keySession{{0, 1}, {1, 0}}, 2, 1, true},
		{"one removes, the other changes", 2, []keySession{{0, 1}, {1, passwd}}, 2, 1, true},
		{"both change the same", 1, []keySession{{0, passwd}, {0, passwd}}, 2, 1, true},
		{"both remove a third", 3, []keySession{{0, 2}, {1, 2}}, 1, 1, false},
		{"the same twice", 2, []keySession{{0, 1}, {0, 1}, {1, 0}}, 0, 0, false},
		{"in a ring", 3, []keySession{{0, 1}, {1, 2}, {2, 0}}, 1, 0, false},
		{"in a ring that is closed twice", 3, []keySession{{0, 1}, {1, 0}, {1, 2}}, 1, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			mem := new(store.Mem)
			r, err := Init(t.Context(), mem, []byte("pw0"), cheap, "", DefaultSettings)
			if err != nil {
				t.Fatal(err)
			}
			w := &keyWorld{t: t, template: r, slots: []pack.FileID{r.slot}, sessions: test.sessions, kills: test.kills, losses: test.losses, stale: test.stale, goOn: map[string]bool{}}
			if testing.Short() {
				w.kills, w.losses = 0, 0
			}
			for i := 1; i < test.slots; i++ {
				id, err := r.AddSlot(t.Context(), fmt.Appendf(nil, "pw%d", i), cheap, "")
				if err != nil {
					t.Fatal(err)
				}
				w.slots = append(w.slots, id)
			}
			w.files = storetest.Files(t, mem)
			plays, states, err := w.explore()
			t.Logf("%d plays, %d states", plays, states)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
