package main

// A slip is a word or phrase that docs/glossary.md replaces, or that a native writer of technical English does not use.
type slip struct {
	pattern string // a regular expression; case does not count, and a space also matches a line break
	instead string // what to write
	except  string // a regular expression; it matches PATH: TEXT <SLIP> TEXT where the words are right after all
}

// inText lists slips in comments, strings and documents. Words are whole. A pattern belongs here only if good English hardly ever
// matches it.
var inText = [...]slip{
	// One word for one thing.
	{`workplaces?`, "work directory", ``},
	{`vow(s|ed)?`, "acknowledgement", ``},
	{`honou?r(s|ed|ing)?`, "acknowledge", `json:"<|^docs/format\.md|^docs/glossary\.md|honours> fsync`},
	{`unsee`, "drop from the seen versions", ``},
	{`distrust(s|ed|ful)?|doubted`, "suspended, or the reason", ``},
	{`corrupt(s|ed|ion)?`, "damaged", `marked as <|tools say <`},
	{`(is|are|was|were|be|been|being|has|have|had) gone`, "missing, deleted, ended", ``},
	{`vanish(es|ed|ing)?`, "is missing", ``},
	{`hopeless(ly)?`, "lost", ``},
	{`lost ((index )?files?|packs?|snapshots?|keys?|slots?|config)`, "missing: only data are lost", ``},
	{`(files?|packs?|snapshots?|keys?|slots?|config) (is|are|was|were) lost`, "missing: only data are lost", ``},
	{`bad (packs?|chunks?|frames?|snapshots?|slots?)`, "damaged, missing, unreadable", ``},
	{`(forget|backup|export|deletion) plans?`, "retention decision, layout, deletion marker: only prune and restore have plans", ``},
	{`(takes?|took|taking) (it|them|these|those|(the |its )?packs) in`, "adopt", ``},

	// A process, a program and a machine are things.
	{`(process(es)?|backups?|prunes?|writers?|readers?|machines?|programs?|callers?|stores?|functions?|goroutines?) who`, "that", ``},
	{`who (\w+ )?(has|have|had) lost`, "without", ``},
	{`nobody`, "no process, no user, or what it is about", `user <|PLATTER_PASSWORD=<`},

	// Phrases.
	{`come what may`, "always", ``},
	{`of which`, "a sentence of its own", `(some|each|most|all|one|none|is|list|parts) <`},
	{`(gives?|gave|given|giving) (a|an|the|its|it|them|that|what|all|every|some)( \w+)? back`, "return, restore", ``},
	{`(lies|lie|lay) (there|here|behind|beyond|beside|in|at|on)`, "is", ``},
	{`(stands?|stood) (in|there)`, "is, replaces", `in> for a`},
	{`told`, "what happens: the flag selects, the option requests, the caller knows", ``},
	{`what (a|an|the)( \w+)? takes?`, "the memory, time or space that … needs", ``},
	{`tells (how|what|which|where)`, "shows", ``},
	{`(it is|it was|is|are) not known (what|which|where|how|whether)`, "unknown", ``},
	{`(it|this|that|which|file|disk|%q|%s) is no [a-z]\w*`, "is not a …", `is no (longer|different|more|less|other|such|use|way|room|reason|need|error)>`},
	{`(is|are) (to go|believed)`, "will be deleted; is used", ``},
	{`(do|does) not mind`, "is unaffected", ``},
	{`behind (byte|the end|its end|the disk)`, "after", ``},
	{`anew|thereof|whereof|whereby|thereby|wherein|hitherto|henceforth`, "again, or a plain word", ``},
	{`without a word`, "what happened", ``},
}

// inNames lists slips in the identifiers of Go. Words do not have to be whole.
var inNames = [...]slip{
	{`workplace|vow(s|ed)?$|honou?r|unsee|hopeless|distrust|vanish|sick|nobody`, "the glossary's term", ``},
	{`^(standIn|told|lies|isGone|errGone)$`, "what it is", ``},
	{`^bad(Pack|Chunk|Frame|Snapshot|Slot)s?$`, "damaged…, …Err", ``},
	{`plans?_?$|^plan`, "layout, retention, marker: only prune and restore have plans", `^(snapshot/restore/|cmd/platter/(restore|full_linux))`},
}
