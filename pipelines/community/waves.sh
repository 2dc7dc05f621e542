#!/bin/sh
# Three waves, one after the other: draw, field, weigh. WAVES="spring" does only the first.
#   waves.sh DATA WORK
# Panelists leave the house by pseudonyms of COMMUNITY_EXPORT_KEY: keep yours, or the names of one wave cannot be made again.
set -eu
: "${COMMUNITY_EXPORT_KEY:?say the key of the pseudonyms: export COMMUNITY_EXPORT_KEY=...}"
export COMMUNITY_EXPORT_KEY
here=$(cd "$(dirname "$0")" && pwd)
data=$1
work=$2
strata=${STRATA:-strata}
python=${PYTHON:-python3}
"$python" "$here/members.py" "$data" "$work"
before=
for wave in ${WAVES:-spring summer autumn}; do
  case $wave in
    spring) day=2017-04-03 ;;
    summer) day=2017-07-03 ;;
    autumn) day=2017-10-02 ;;
    *) echo "there is no wave $wave" >&2; exit 2 ;;
  esac
  "$strata" run "$here" -p data="$data" -p work="$work" -p wave="$wave" --as-of "${day}T00:00:00-04:00" \
    --state "$work/state" --report "$work/run_$wave.json"
  # The day before the first answers: what comes back is no part of what was drawn.
  "$python" "$here/answers.py" "$work" "$wave" "$day"
  "$strata" weights "$here" -p data="$data" -p work="$work" -p wave="$wave" --as-of "${day}T00:00:00-04:00" --wave "$wave" \
    --fieldwork "$work/fieldwork_$wave.csv" --measure satisfaction --by activity \
    ${before:+--before "$work/weights_$before.csv"} --out "$work/weights_$wave.csv" --report "$work/weights_$wave.json"
  before=$wave
done
