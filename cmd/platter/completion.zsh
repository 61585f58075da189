#compdef platter
# platter completion for zsh; see 'platter help completion'

_platter() {
  local -a before suggestions
  before=("${(@)words[2,CURRENT-1]}")
  # platter suggests flags only when it sees the beginning of one.
  if [[ ${words[CURRENT]} == -* ]]; then before+=("${words[CURRENT]}"); fi
  # A variable named 0 is how the library behind it tells that it may describe what it suggests.
  suggestions=("${(@f)$(env 0=zsh "${words[1]}" "${before[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n ${suggestions[1]} ]]; then
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
