# platter completion for bash; see 'platter help completion'
# shellcheck shell=bash

_platter() {
	local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:1:COMP_CWORD-1}") word
	COMPREPLY=()
	# The beginning of a command would be taken for an argument, that of a flag asks for flags.
	if [[ $cur == -* ]]; then words+=("$cur"); else words+=(""); fi
	# The words are handed on as they are: whatever eval, or compgen -W, would make of them must not happen here.
	while IFS=$'\t' read -r word _; do
		if [[ $word == "$cur"* ]]; then COMPREPLY+=("$word"); fi
	done < <("${COMP_WORDS[0]}" "${words[@]}" --generate-bash-completion 2>/dev/null)
}

# Where platter has nothing to suggest, file names are completed.
complete -o bashdefault -o default -F _platter platter
