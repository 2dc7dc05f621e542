#!/usr/bin/env python3
"""Makes a community out of the households: who joined, and who was written to before the first wave.

  python3 members.py DATA WORK

DATA holds demographics.parquet (fetch.sh); only its household numbers are used, read with pyarrow or duckdb. Everything is a function of the
household's number, so that two machines make the same files.
"""
import datetime as dt
import hashlib
import os
import sys


def chance(*parts):
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def read(path, columns):
    """Distinct rows of a Parquet file, as texts, in order."""
    try:
        import duckdb

        found = duckdb.sql(f"select distinct {', '.join(columns)} from '{path}'").fetchall()
    except ImportError:
        import pyarrow.parquet as pq

        table = pq.read_table(path, columns=columns)
        found = set(zip(*(table[c].to_pylist() for c in columns)))
    return sorted(tuple(str(v) for v in row) for row in found)


def households(data):
    return [row[0] for row in read(os.path.join(data, "transactions.parquet"), ["household_id"])]


def rows_to(path, head, rows):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        out.write(",".join(head) + "\n")
        for row in rows:
            out.write(",".join(map(str, row)) + "\n")


def main(data, work):
    members, mailings, invites = [], [], []
    start = dt.datetime(2017, 1, 1, 12)
    for h in households(data):
        if chance("joins", h) > 0.7:
            continue
        language = "en" if chance("language", h) < 0.95 else "es"
        members.append((h, language, str(chance("research", h) < 0.9).lower(), str(chance("staff", h) < 0.01).lower()))
        for week in range(52):
            if chance("mail", h, week) < 0.35:
                day = start + dt.timedelta(days=7 * week + int(7 * chance("day", h, week)))
                mailings.append((f"m{len(mailings) + 1}", h, day))
        # Another study was in the field all year, for a few.
        if chance("other", h) < 0.04:
            day = start + dt.timedelta(days=int(300 * chance("other day", h)))
            invites.append((f"o{len(invites) + 1}", h, day, "other", "open", 10))
    rows_to(os.path.join(work, "members.csv"), ["household_id", "language", "research", "staff"], members)
    rows_to(os.path.join(work, "mailings.csv"), ["mailing_id", "household_id", "sent_at"], mailings)
    head = ["invite_id", "household_id", "invited_at", "kind", "status", "minutes"]
    rows_to(os.path.join(work, "invites", "other.csv"), head, invites)
    print(f"{len(members)} members, {len(mailings)} mailings, {len(invites)} invitations of another study")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
