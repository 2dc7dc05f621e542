"""loyalty_core@1 and preferred_time@1 again, in plain Python, person by person. Never shares a line with the product.

usage: presets.py loyalty_core|preferred_time CASE_FOLDER OUTPUT_CSV
"""

import csv
import datetime as dt
import math
import statistics
import sys
from collections import Counter, defaultdict
from pathlib import Path
from zoneinfo import ZoneInfo

UTC = dt.timezone.utc
ZONE = ZoneInfo("Europe/Berlin")
AS_OF = dt.datetime(2026, 2, 1, tzinfo=ZONE).astimezone(UTC)
TODAY = dt.date(2026, 2, 1)
LAST_MONTH = 2026 * 12 + 1


def read(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def instant(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def number(text):
    return float(text) if text else None


def total(values):
    return math.fsum(v for v in values if v is not None)


def ratio(a, b):
    return None if a is None or b is None or b == 0 else a / b


def local_day(at):
    return at.astimezone(ZONE).date()


def entropy(weights):
    whole = math.fsum(weights)
    return -math.fsum(w / whole * math.log(w / whole) for w in weights) if weights else None


def gaps_of(days):
    return [(b - a).days for a, b in zip(days, days[1:])]


def loyalty(folder):
    orders = defaultdict(list)
    for row in read(folder / "orders.csv"):
        at = instant(row["ordered_at"])
        if row["customer_id"] and at < AS_OF:
            orders[row["customer_id"]].append(dict(row, at=at, day=local_day(at)))
    visits = defaultdict(list)
    for row in read(folder / "visits.csv"):
        if instant(row["at"]) < AS_OF:
            visits[row["customer_id"]].append(instant(row["at"]))
    spend = defaultdict(Counter)
    for row in read(folder / "items.csv"):
        spend[row["customer_id"]][row["category"]] += int(row["price"])
    days = {c: sorted({o["day"] for o in own}) for c, own in orders.items()}
    all_gaps = [g for own in days.values() for g in gaps_of(own)]
    mean_gap = sum(all_gaps) / len(all_gaps)
    cohort = {c: (own[0].year, own[0].month) for c, own in days.items()}
    people = [row["customer_id"] for row in read(folder / "customers.csv")]
    return {c: person(c, orders[c], days.get(c, []), visits[c], spend[c], mean_gap, cohort, days) for c in people}


def person(c, orders, days, visits, spend, mean_gap, cohort, all_days):
    out = {}
    within = lambda a, b=0: [o for o in orders if AS_OF - dt.timedelta(days=a) <= o["at"] < AS_OF - dt.timedelta(days=b)]
    paid = lambda own: total(number(o["paid"]) for o in own)
    back = lambda own: total(number(o["back"]) for o in own)
    net = lambda own: paid(own) - back(own)
    for name, own in (("90d", within(90)), ("365d", within(365)), ("life", orders)):
        out[f"orders_{name}"], out[f"net_{name}"] = len(own), net(own)
    times = [o["at"] for o in orders]
    engaged = times + visits
    out["recency_days"] = (TODAY - days[-1]).days if days else None
    out["engagement_days"] = (TODAY - local_day(max(engaged))).days if engaged else None
    out["tenure_days"] = (TODAY - days[0]).days if days else None
    out["cohort"] = f"{days[0].year}-{days[0].month:02}" if days else None
    gaps = gaps_of(days)
    interval = (sum(gaps) + 4 * mean_gap) / (len(gaps) + 4)
    out["overdue"] = out["recency_days"] / interval if days else None
    if days:
        same = [d[-1] for k, d in all_days.items() if cohort[k] == cohort[c]]
        out["recency_rank"] = sum(d <= days[-1] for d in same) / len(same)
    else:
        out["recency_rank"] = None
    out["gap_median"] = statistics.median(gaps) if gaps else None
    out["second_order_days"] = gaps[0] if gaps else None
    out["regularity"] = 1 / (1 + statistics.stdev(gaps) / statistics.mean(gaps)) if len(gaps) >= 2 else None
    months = Counter(o["day"].year * 12 + o["day"].month for o in orders)
    span = range(min(months), LAST_MONTH + 1) if months else []
    out["active_month_share"] = len(months) / len(span) if months else None
    logs = [math.log(1 + months[m]) for m in span]
    out["order_trend"] = statistics.linear_regression(list(span), logs).slope if len(span) >= 2 else None
    a, b = net(within(90)), net(within(180, 90))
    out["spend_trend"] = ratio(a - b, abs(a) + abs(b))
    out["basket"] = ratio(paid(orders), len(orders))
    out["basket_lines"] = ratio(total(number(o["lines"]) for o in orders), len(orders))
    off = total(number(o["off"]) for o in orders)
    out["discount_share"] = ratio(off, paid(orders) + off)
    out["full_price_share"] = ratio(sum(not number(o["off"]) for o in orders), len(orders))
    rate = ratio(back(orders), paid(orders))
    out["return_rate"] = None if rate is None else min(1, max(0, rate))
    out["return_rate_clipped"] = None if rate is None else not 0 <= rate <= 1
    channels = Counter(o["channel"].lower() for o in orders if o["channel"])
    top = min(channels, key=lambda k: (-channels[k], k)) if channels else None
    out["channel_top"] = top
    out["channel_top_share"] = ratio(channels[top], sum(channels.values())) if channels else None
    out["channel_entropy"] = entropy(list(channels.values()))
    out["channels_90d"] = len({o["channel"].lower() for o in within(90) if o["channel"]})
    out["single_channel"] = len(channels) == 1 and len(orders) >= 3
    shares = [v for v in spend.values() if v > 0]
    out["categories"] = len(shares)
    out["category_entropy"] = entropy(shares)
    out["categories_effective"] = math.exp(out["category_entropy"]) if shares else None
    hhi = sum(v * v for v in shares) / sum(shares) ** 2 if shares else None
    out["category_hhi"] = hhi
    k = len(shares)
    out["category_hhi_normalised"] = None if not shares else 1 if k == 1 else (hhi - 1 / k) / (1 - 1 / k)
    return {f"l_{name}": value for name, value in out.items()}


def preferred(folder):
    parts = {
        "daypart": lambda at: ("night", "morning", "afternoon", "evening")[at.hour // 6],
        "weekday": lambda at: at.isoweekday(),
        "hour": lambda at: at.hour,
    }
    out = {row["customer_id"]: {} for row in read(folder / "customers.csv")}
    z = statistics.NormalDist().inv_cdf(0.975)
    for name, part in parts.items():
        events = defaultdict(Counter)
        for row in read(folder / "visits.csv"):
            at = instant(row["at"])
            if row["customer_id"] and at < AS_OF and at >= AS_OF - dt.timedelta(days=300) and row["kind"] == "view":
                events[row["customer_id"]][part(at.astimezone(ZONE))] += 1
        everybody = sum(events.values(), Counter())
        base = {c: n / sum(everybody.values()) for c, n in everybody.items()}
        for customer, made in out.items():
            own = events.get(customer, Counter())
            n = sum(own.values())
            share = {c: (own[c] + 6 * base[c]) / (n + 6) for c in base}
            best = min(base, key=lambda c: (-share[c], c))
            size, p = n + 6, share[best]
            low = (p + z * z / (2 * size) - z * math.sqrt(p * (1 - p) / size + z * z / (4 * size * size))) / (1 + z * z / size)
            made[f"preferred_{name}"] = str(best) if n >= 5 and low > base[best] else "none"
    return out


def same(found, expected):
    if expected is None:
        return found == ""
    if isinstance(expected, bool):
        return found == str(expected).lower()
    if isinstance(expected, (int, float)):
        return found != "" and abs(float(found) - expected) <= 1e-9 * max(1, abs(expected))
    return found == expected


def main():
    which, folder, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    expected = {"loyalty_core": loyalty, "preferred_time": preferred}[which](folder)
    found = {row["customer_id"]: row for row in read(output)}
    wrong = [] if set(found) == set(expected) else ["other people"]
    compared = 0
    for customer, row in found.items():
        wrong += [f"{customer}: {c} is expected" for c in expected[customer] if c not in row]
        for column, value in row.items():
            if column != "customer_id":
                compared += 1
                if column not in expected[customer]:
                    wrong.append(f"{customer}: {column} is not expected")
                elif not same(value, expected[customer][column]):
                    wrong.append(f"{customer}: {column} is {value}, not {expected[customer][column]}")
    if wrong or compared < 20:
        sys.exit("\n".join(wrong[:40]) or "nothing to compare")
    print(f"{compared} values agree")


main()
