#compdef platter
# platter completion for zsh; see 'platter help completion'

_platter() {
  local -a before suggestions
  before=("${(@)words[2,CURRENT-1]}")
  # The beginning of a command would be taken for an argument, that of a flag asks for flags.
  if [[ ${words[CURRENT]} == -* ]]; then before+=("${words[CURRENT]}"); else before+=(""); fi
  suggestions=("${(@f)$("${words[1]}" "${before[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n ${suggestions[1]} ]]; then
    # _describe wants a colon between a word and what it is for.
    suggestions=("${(@)suggestions/$'\t'/:}")
    _describe platter suggestions
  else
    _files
  fi
}

# Loaded from a file in fpath it is the function itself; sourced, it defines one.
if [[ ${funcstack[1]} == _platter ]]; then
  _platter "$@"
else
  compdef _platter platter
fi
