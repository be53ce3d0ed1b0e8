#!/usr/bin/env bash
# Every committed scenario over a range of seeds, each twice with the same hash. Bazel runs it in
# shards, and so does a cluster.
set -euo pipefail
exec tools/aios_sim/aios_sim check sim/scenarios/*.yaml "$@"
