#compdef platter
# platter completion for zsh; see 'platter help completion'

_platter() {
  local -a before suggestions
  before=("${(@)words[2,CURRENT-1]}")
  # platter would read the beginning of a command as an argument; the beginning of a flag asks for flags.
  if [[ ${words[CURRENT]} == -* ]]; then before+=("${words[CURRENT]}"); else before+=(""); fi
  suggestions=("${(@f)$("${words[1]}" "${before[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n ${suggestions[1]} ]]; then
    # _describe needs a colon between a word and its description.
    suggestions=("${(@)suggestions/$'\t'/:}")
    _describe platter suggestions
  else
    _files
  fi
}

# Loaded from a file in fpath, this file is the function itself; sourced, it defines one.
if [[ ${funcstack[1]} == _platter ]]; then
  _platter "$@"
else
  compdef _platter platter
fi
