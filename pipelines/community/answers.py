#!/usr/bin/env python3
"""Generates what comes back of a wave: who answers and what, as a fieldwork file, and the invitations that now count as contacts.

  python3 answers.py WORK WAVE DAY

Reads the newest panelists of the wave. Heavy shoppers answer more often and are more content; in summer content falls among light shoppers
(prices), in autumn it comes back in part. Everything is a function of the household's number and the wave.
"""
import csv
import datetime as dt
import glob
import os
import sys

from members import chance, rows_to

LEVEL = {"heavy": 7.8, "regular": 7.2, "light": 6.6}
ANSWERS = {"heavy": 0.6, "regular": 0.45, "light": 0.33}
MOVES = {"spring": {}, "summer": {"light": -0.9, "regular": -0.2}, "autumn": {"light": -0.4}}


def panelists(work, wave):
    table = os.path.join(work, "out", f"panelists_{wave}")
    newest = max(glob.glob(os.path.join(table, "runs", "*")))
    for path in sorted(glob.glob(os.path.join(newest, "*.csv"))):
        with open(path, encoding="utf-8") as lines:
            yield from csv.DictReader(lines)


def main(work, wave, day):
    start = dt.datetime.fromisoformat(day) + dt.timedelta(hours=15)
    fieldwork, invites = [], []
    for row in panelists(work, wave):
        if row["reserve_rank"]:
            continue  # asked only where others cannot be reached: never here
        h, activity = row["household_id"], row["activity"]
        luck = chance("answer", wave, h)
        rate = ANSWERS[activity] * (1.0 if row["age_band"] != "19-24" else 0.7)
        outcome = "complete" if luck < rate else "refused" if luck < rate + 0.08 else "unknown" if luck > 0.97 else "no_answer"
        person = sum(chance("person", h, k) for k in range(6)) - 3
        mood = sum(chance("mood", wave, h, k) for k in range(6)) - 3
        score = LEVEL[activity] + MOVES[wave].get(activity, 0.0) + 1.4 * person + 0.8 * mood
        answer = min(10, max(0, round(score))) if outcome == "complete" else ""
        fieldwork.append((h, outcome, answer))
        status = "complete" if outcome == "complete" else "none"
        invites.append((f"{wave}{len(invites) + 1}", h, start, "survey", status, 12 if outcome == "complete" else 1))
    rows_to(os.path.join(work, f"fieldwork_{wave}.csv"), ["household_id", "disposition", "satisfaction"], fieldwork)
    head = ["invite_id", "household_id", "invited_at", "kind", "status", "minutes"]
    rows_to(os.path.join(work, "invites", f"{wave}.csv"), head, invites)
    print(f"{wave}: {len(fieldwork)} invited, {sum(1 for f in fieldwork if f[1] == 'complete')} answers")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
