#!/usr/bin/env python3
"""What three readers find in a Delta table: delta-rs, Polars and DuckDB.

    python3 tests/oracle/read_delta.py TABLE [--order COLUMN,...] [--version N] [--endpoint URL --key KEY --secret SECRET] [--compact]

Prints one JSON object: each reader's rows as lists of texts, sorted, with the columns' names and types as delta-rs sees them. With
`--compact` delta-rs first rewrites the table's files, removes what nobody reads any more, writes a checkpoint and cleans the log: what
other writers may do to a table of ours.
"""
import argparse
import importlib
import json
import sys

import duckdb
import polars
from deltalake import DeltaTable


def texts(rows):
    def text(value):
        return None if value is None else str(value)

    return sorted([[text(value) for value in row] for row in rows], key=lambda row: [(v is None, v or "") for v in row])


def by_duckdb(args, names):
    db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in ("httpfs", "delta"):
        package = importlib.import_module(f"duckdb_extension_{name}")
        db.execute(f"LOAD '{package.__path__[0]}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
    db.execute("SET TimeZone = 'UTC'")
    if args.endpoint:
        host = args.endpoint.split("://")[1]
        db.execute(f"""CREATE SECRET s (TYPE s3, KEY_ID '{args.key}', SECRET '{args.secret}', ENDPOINT '{host}', REGION 'us-east-1',
                   USE_SSL false, URL_STYLE 'path')""")
    at = args.table if args.endpoint else f"file://{args.table}"
    columns = ", ".join(f'"{name}"' for name in names)
    return db.execute(f"SELECT {columns} FROM delta_scan('{at}')").fetchall()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--version", type=int)
    for name in ("endpoint", "key", "secret"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--compact", action="store_true")
    args = parser.parse_args()
    options = {}
    if args.endpoint:
        options = {"AWS_ENDPOINT_URL": args.endpoint, "AWS_ACCESS_KEY_ID": args.key, "AWS_SECRET_ACCESS_KEY": args.secret,
                   "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
    table = DeltaTable(args.table, version=args.version, storage_options=options)
    if args.compact:
        table.optimize.compact()
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        table.create_checkpoint()
        table.cleanup_metadata()
        table = DeltaTable(args.table, storage_options=options)
    arrow = table.to_pyarrow_table()
    names = arrow.column_names
    found = {"deltalake": texts(zip(*arrow.to_pydict().values()))}
    frame = polars.read_delta(args.table, version=args.version, storage_options=options).select(names)
    found["polars"] = texts(frame.rows())
    if args.version is None:
        found["duckdb"] = texts(by_duckdb(args, names))
    fields = json.loads(table.schema().to_json())["fields"]
    print(json.dumps({"version": table.version(), "columns": {f["name"]: f["type"] for f in fields}, "rows": found}))


if __name__ == "__main__":
    sys.exit(main())
