#!/bin/sh
# Install stvd with all that a deployment needs: infra/image/install.sh VENV [pip's options]
# From the root of the repository. TORCH_INDEX: an index of other builds of torch, e.g. for the CPU.
set -eu
venv=$1
shift

test -x "$venv/bin/python" || python3 -m venv "$venv"
pip() { "$venv/bin/python" -m pip install --no-cache-dir --constraint constraints.txt "$@"; }

if [ -n "${TORCH_INDEX:-}" ]; then
    pip "$@" --index-url "$TORCH_INDEX" torch
fi
pip "$@" '.[s3,servers,store,kubernetes,dask-cluster]'
