#!/usr/bin/env bash
# Makes the environment of the peers (.bench/peers, ignored by git) that `make bench` compares tacit with.
#
#   benchmarks/peers/setup.sh              make it if it is missing or a pin changed
#   PYTHON=python3.12 .../setup.sh         choose the interpreter (3.11 or 3.12: pfl 0.6.0 allows no later one)
#   TORCH_PIP_ARGS="--index-url URL" ...   where torch comes from; on Linux plain pip may fetch the CUDA build, several
#                                          GB larger and no faster here, unless an index of CPU wheels is named
#   PEERS_UNCONSTRAINED=1 .../setup.sh     let pip choose what constraints.txt pins (the peers themselves stay pinned)
#   PEERS_ENV=DIR .../setup.sh             put it elsewhere (the runners only need to be started with its python)
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
env_dir="${PEERS_ENV:-$(cd "$here/../.." && pwd)/.bench/peers}"
requirements="$here/requirements.txt"
constraints="$here/constraints.txt"
[[ -n "${PEERS_UNCONSTRAINED:-}" ]] && constraints=/dev/null
stamp="$env_dir/installed.txt"

if [[ -f "$stamp" ]] && cat "$requirements" "$constraints" | cmp -s - "$stamp"; then
    echo "peers: $env_dir is up to date"
    exit 0
fi

python="${PYTHON:-}"
if [[ -z "$python" ]]; then
    for candidate in python3 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            python="$candidate"
            break
        fi
    done
fi
if [[ -z "$python" ]]; then
    echo "peers: Python 3.11 or 3.12 is needed (pfl 0.6.0 allows no later one) and none was found; set PYTHON" >&2
    exit 2
fi

started=$SECONDS
rm -rf "$env_dir"
mkdir -p "$(dirname "$env_dir")"
"$python" -m venv "$env_dir"
pip=("$env_dir/bin/python" -m pip --disable-pip-version-check install -qq)
# Torch first and alone, so that the index chosen for it serves nothing else.
torch_pin="$(grep '^torch==' "$requirements")"
# shellcheck disable=SC2086  # the arguments are meant to be split
"${pip[@]}" ${TORCH_PIP_ARGS:-} "$torch_pin"
"${pip[@]}" -r "$requirements" -c "$constraints"
"$env_dir/bin/python" -m pip check
cat "$requirements" "$constraints" >"$stamp"
echo "peers: $env_dir made in $((SECONDS - started)) s"
