#!/usr/bin/env bash
# The environment that `make` set up: `scripts/env.sh COMMAND...` runs a command in it,
# `source scripts/env.sh` changes the shell. DISTRO=kilted picks another set of ROS 2 wheels.
# robust_vos_ros comes from the source tree, robust_vos.msg and .srv from the colcon build.

_robust_vos_prepend() {  # NAME FOLDER: put an existing folder first in a path variable, once
  local rest=":${!1:-}:"
  [ -d "$2" ] || return 0
  rest="${rest//:$2:/:}"
  rest="${rest#:}"
  rest="${rest%:}"
  export "$1=$2${rest:+:$rest}"
}

_robust_vos_env() {
  local repo venv base prefix folder
  repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
  case "${DISTRO:-jazzy}" in
    jazzy) venv="$repo/.venv" base="$repo" ;;
    *) venv="$repo/.venv-$DISTRO" base="$repo/.venv-$DISTRO/colcon" ;;
  esac
  prefix="$base/install/robust_vos"
  if [ ! -d "$prefix" ]; then
    echo "scripts/env.sh: $prefix does not exist; run make setup${DISTRO:+ DISTRO=$DISTRO} first" >&2
    return 1
  fi

  if [ -d "$venv/share/ament_index" ]; then  # the venv holds ROS itself: no other ROS beside it
    if [ -n "${ROS_DISTRO:-}" ]; then
      unset ROS_DISTRO PYTHONPATH
    fi
    unset AMENT_PREFIX_PATH
    _robust_vos_prepend AMENT_PREFIX_PATH "$venv"
    for folder in "$venv"/lib/python3*/site-packages/ros_*.libs "$venv/lib"; do
      _robust_vos_prepend LD_LIBRARY_PATH "$folder"
    done
    # Else the wheels start every Python twice, to make this same LD_LIBRARY_PATH.
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
  fi
  _robust_vos_prepend AMENT_PREFIX_PATH "$prefix"
  _robust_vos_prepend LD_LIBRARY_PATH "$prefix/lib"
  for folder in "$prefix"/lib/python3*/*-packages "$prefix"/local/lib/python3*/*-packages; do
    _robust_vos_prepend PYTHONPATH "$folder"
  done
  _robust_vos_prepend PYTHONPATH "$repo"
  _robust_vos_prepend PATH "$venv/bin"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  _robust_vos_env
  [ $# -gt 0 ] || { echo 'usage: scripts/env.sh COMMAND...' >&2; exit 2; }
  exec "$@"
fi
_robust_vos_env
unset -f _robust_vos_env _robust_vos_prepend
