#!/usr/bin/env python3
"""Do two folders hold the same tables?  python3 tests/oracle/compare.py A B [TABLE=KEY[,KEY] ...]

Exit status 0 if they do, 1 if not, with the first differences of each column. A table is `NAME.parquet` or a folder `NAME`
of Parquet files, however deep. Rows are matched by key. Keys, texts, integers, truth values, instants and nulls must be
equal; floating numbers within 1e-6 of each other's size, or 1e-9. The order of rows and columns and the width of integers
do not matter. It never forgives a missing row or column.
"""
import os
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

C360 = ["customer_360=customer_id", "customer_segments=customer_id", "segment_profile=kind,segment", "panel_sample=customer_id"]
RELATIVE, ABSOLUTE = 1e-6, 1e-9
SHOWN = 3


def read(folder, name):
    """The table, whole. An empty folder or none at all is an error: nothing is not a result."""
    path = os.path.join(folder, name)
    files = [path + ".parquet"] if os.path.isfile(path + ".parquet") else []
    for place, _, names in os.walk(path):
        files += [os.path.join(place, n) for n in names if n.endswith(".parquet")]
    if not files:
        sys.exit(f"no Parquet file of `{name}` in {folder}; run the pipeline or name another folder")
    # One file at a time: folders may be named `a=b`, which must not become a column.
    return pa.concat_tables([plain(pq.ParquetFile(f).read()) for f in sorted(files)])


def plain(table):
    """Columns with the few types that are compared: int64, float64, text, instant in microseconds, truth value."""
    def cast(column):
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = kind.value_type
        if pa.types.is_integer(kind):
            return column.cast(pa.int64())
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return column.cast(pa.float64())
        if pa.types.is_timestamp(kind):
            return column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return column.cast(pa.large_string())
        return column
    return pa.table({name: cast(table[name]) for name in table.column_names})


def key_rows(table, keys, where):
    """Row number by key."""
    rows = {key: i for i, key in enumerate(zip(*[table[k].to_pylist() for k in keys]))}
    if len(rows) != table.num_rows:
        return rows, [f"{table.num_rows - len(rows)} keys of {where} occur twice"]
    return rows, []


def column_differences(name, keys, a, b):
    """What differs in one column, rows already matched."""
    if pa.types.is_integer(a.type) and pa.types.is_floating(b.type) or pa.types.is_floating(a.type) and pa.types.is_integer(b.type):
        a, b = a.cast(pa.float64()), b.cast(pa.float64())
    if a.type != b.type and not (pa.types.is_null(a.type) or pa.types.is_null(b.type)):
        return [f"{name}: {a.type} in A, {b.type} in B"]
    if pa.types.is_floating(a.type) and pa.types.is_floating(b.type):
        size = pc.max_element_wise(pc.abs(a), pc.abs(b))
        near = pc.less_equal(pc.abs(pc.subtract(a, b)), pc.max_element_wise(pc.multiply(size, RELATIVE), pa.scalar(ABSOLUTE)))
        same = pc.or_(near, pc.or_(pc.equal(a, b), pc.and_(pc.is_nan(a), pc.is_nan(b))))
    else:
        same = pc.equal(a, b.cast(a.type))
    both_null = pc.and_(pc.is_null(a), pc.is_null(b))
    good = pc.or_(pc.fill_null(same, False), both_null).to_pylist()
    bad = [i for i, ok in enumerate(good) if not ok]
    if not bad:
        return []
    examples = "; ".join(f"{keys[i]}: {a[i].as_py()!r} in A, {b[i].as_py()!r} in B" for i in bad[:SHOWN])
    return [f"{name}: {len(bad)} of {len(good)} differ, {examples}"]


def differences(a, b, keys):
    """What differs in one table."""
    found = []
    for place, ours, theirs in (("A", a, b), ("B", b, a)):
        only = [c for c in ours.column_names if c not in theirs.column_names]
        if only:
            found.append(f"columns only in {place}: {', '.join(only)}")
        if any(k not in ours.column_names for k in keys):
            return found + [f"{place} lacks a column of the key {', '.join(keys)}"]
    rows_a, twice_a = key_rows(a, keys, "A")
    rows_b, twice_b = key_rows(b, keys, "B")
    found += twice_a + twice_b
    for place, ours, theirs in (("A", rows_a, rows_b), ("B", rows_b, rows_a)):
        only = [k for k in ours if k not in theirs]
        if only:
            found.append(f"{len(only)} rows only in {place}, e.g. {only[:SHOWN]}")
    shared = [k for k in rows_a if k in rows_b]
    a, b = a.take([rows_a[k] for k in shared]), b.take([rows_b[k] for k in shared])
    for name in a.column_names:
        if name in b.column_names and name not in keys:
            found += column_differences(name, shared, a[name].combine_chunks(), b[name].combine_chunks())
    return found


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folders, wanted = sys.argv[1:3], sys.argv[3:] or C360
    total = 0
    for name, keys in (w.split("=") for w in wanted):
        a, b = (read(f, name) for f in folders)
        found = differences(a, b, keys.split(","))
        total += len(found)
        print(f"{'equal ' if not found else 'DIFFER'} {name}: {a.num_rows} rows, {a.num_columns} columns")
        for text in found:
            print(f"       {text}")
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
