#!/usr/bin/env bash
# Seeds of both targets from the repository's pipelines: whole files, and the expressions in them, one a file. Never removes what a run found.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p fuzz/corpus/file fuzz/corpus/expressions
for pipeline in tests/cases/*/pipeline.yaml pipelines/*/pipeline.yaml; do
    cp "$pipeline" "fuzz/corpus/file/$(tr / - <<<"$pipeline")"
    sed -nE 's/^[^#]*: "?([^"{|#]*[(=<>*+][^"{#]*).*$/\1/p' "$pipeline"
done | sed -E 's/[]} ]*,?$//' | sort -u | split --lines=1 --suffix-length=4 --numeric-suffixes - fuzz/corpus/expressions/seed-
