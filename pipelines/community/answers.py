#!/usr/bin/env python3
"""Generates what comes back of a wave: who answers and what, as a fieldwork file, and the invitations that now count as contacts.

  python3 answers.py WORK WAVE DAY

Reads who was asked from what the panel keeps (`out/panel_WAVE`). The fieldwork names people as the platform knows them, by the pseudonym of
the export, which is made here anew from COMMUNITY_EXPORT_KEY. Heavy shoppers answer more often and are more content; in summer content falls among light shoppers
(prices), in autumn it comes back in part. Everything is a function of the household's number and the wave.
"""
import base64
import datetime as dt
import glob
import hmac
import os
import sys

from members import chance, read, rows_to

LEVEL = {"heavy": 7.8, "regular": 7.2, "light": 6.6}
ANSWERS = {"heavy": 0.6, "regular": 0.45, "light": 0.33}
MOVES = {"spring": {}, "summer": {"light": -0.9, "regular": -0.2}, "autumn": {"light": -0.4}}


def asked(work, wave):
    newest = max(glob.glob(os.path.join(work, "out", f"panel_{wave}", "runs", "*")))
    rows = []
    for path in glob.glob(os.path.join(newest, "*.parquet")):
        rows.extend(read(path, ["household_id", "activity", "age_band"]))
    return sorted(rows, key=lambda row: int(row[0]))


def pseudonym(household, as_of):
    export = f"once:community/platform/{as_of}\x1f{household}"
    digest = hmac.new(os.environ["COMMUNITY_EXPORT_KEY"].encode(), export.encode(), "sha256").digest()
    return base64.b32encode(digest[:20]).decode()


def main(work, wave, day):
    start = dt.datetime.fromisoformat(day) + dt.timedelta(hours=15)
    as_of = f"{day}T04:00:00+00:00"  # midnight in New York, in summer
    fieldwork, invites = [], []
    for h, activity, age_band in asked(work, wave):
        luck = chance("answer", wave, h)
        rate = ANSWERS[activity] * (1.0 if age_band != "19-24" else 0.7)
        outcome = "complete" if luck < rate else "refused" if luck < rate + 0.08 else "unknown" if luck > 0.97 else "no_answer"
        person = sum(chance("person", h, k) for k in range(6)) - 3
        mood = sum(chance("mood", wave, h, k) for k in range(6)) - 3
        score = LEVEL[activity] + MOVES[wave].get(activity, 0.0) + 1.4 * person + 0.8 * mood
        answer = min(10, max(0, round(score))) if outcome == "complete" else ""
        fieldwork.append((pseudonym(h, as_of), outcome, answer))
        status = "complete" if outcome == "complete" else "none"
        invites.append((f"{wave}{len(invites) + 1}", h, start, "survey", status, 12 if outcome == "complete" else 1))
    rows_to(os.path.join(work, f"fieldwork_{wave}.csv"), ["panelist_id", "disposition", "satisfaction"], fieldwork)
    head = ["invite_id", "household_id", "invited_at", "kind", "status", "minutes"]
    rows_to(os.path.join(work, "invites", f"{wave}.csv"), head, invites)
    print(f"{wave}: {len(fieldwork)} invited, {sum(1 for f in fieldwork if f[1] == 'complete')} answers")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
