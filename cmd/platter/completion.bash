# platter completion for bash; see 'platter help completion'
# shellcheck shell=bash

_platter() {
	local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:1:COMP_CWORD-1}") word
	COMPREPLY=()
	# platter would read the beginning of a command as an argument; the beginning of a flag asks for flags.
	if [[ $cur == -* ]]; then words+=("$cur"); else words+=(""); fi
	# The words are passed on unchanged: eval or compgen -W would expand them.
	while IFS=$'\t' read -r word _; do
		if [[ $word == "$cur"* ]]; then COMPREPLY+=("$word"); fi
	done < <("${COMP_WORDS[0]}" "${words[@]}" --generate-bash-completion 2>/dev/null)
}

# If platter has nothing to suggest, file names are completed.
complete -o bashdefault -o default -F _platter platter
