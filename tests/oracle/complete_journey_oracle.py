#!/usr/bin/env python3
"""The complete_journey pipeline once more, in DuckDB SQL written from the definitions of the outputs.

    python3 tests/oracle/complete_journey_oracle.py --data DIR --out DIR [--panel FOLDER]

Writes household_360, household_segments and segment_profile as .parquet files, and stops if the data is not the published one.
Whom a draw picks depends on Strata's own numbers, so a panel is not repeated: `--panel FOLDER` names an output folder of
`panel_sample` and checks that it is a right draw with right weights. It never shares a line with Strata.
"""
import argparse
import glob
import math
import os
import sys

import duckdb

DESCRIBED = {
    "recency_days": "recency_days", "order_count": "order_count", "spend": "spend_cents / 100", "avg_basket": "avg_basket", "units": "units",
    "distinct_products": "distinct_products", "distinct_departments": "distinct_departments", "saved_share": "saved_share",
    "fuel_share": "fuel_share", "share_weekend": "share_weekend", "share_evening": "share_evening", "usual_gap_days": "usual_gap_days",
}
FEATURES = ["ln(1 + order_count)", "ln(1 + avg_basket)", "ln(1 + distinct_products)", "saved_share", "fuel_share", "share_weekend", "share_evening"]
MARGINS = ["age_band", "income_band", "household_size"]
SAMPLE, LEAST = 200, 2


def read_sources(db, data):
    """Lines with whole cents and both clocks: `moment` is the instant in UTC, `here` what a watch in the store showed."""
    db.execute(f"""
        CREATE MACRO as_of() AS TIMESTAMP '2018-01-01 05:00:00';
        CREATE TABLE lines AS
        SELECT household_id, store_id, basket_id, t.product_id, quantity, department, epoch_us(transaction_timestamp) AS us,
               make_timestamp(us) AS moment, timezone('America/New_York', timezone('UTC', make_timestamp(us))) AS here,
               CAST(round(sales_value * 100) AS BIGINT) AS spend,
               CAST(round(retail_disc * 100) + round(coupon_disc * 100) + round(coupon_match_disc * 100) AS BIGINT) AS saved,
               ifnull(department = 'FUEL', false) OR ifnull(product_category IN ('FUEL', 'COUPON/MISC ITEMS'), false) AS fuel
        FROM read_parquet('{data}/transactions.parquet') t LEFT JOIN read_parquet('{data}/products.parquet') p ON p.product_id = t.product_id;
        CREATE TABLE told AS FROM read_parquet('{data}/demographics.parquet');""")
    expected = {
        "lines": ("count(*) FROM lines", 1469307),
        "lines before as_of": ("count(*) FROM lines WHERE moment < as_of()", 1469307),
        "keys": ("count(DISTINCT (basket_id, product_id)) FROM lines", 1469307),
        "households": ("count(DISTINCT household_id) FROM lines", 2469),
        "known households": ("count(*) FROM told SEMI JOIN lines USING (household_id)", 801),
        # 11,226 are exactly 0, and 20 hold a rounding error of less than 1e-14.
        "lines of no value": ("count(*) FROM lines WHERE spend = 0", 11246),
        "baskets": ("count(DISTINCT basket_id) FROM lines", 155848),
        "orders": ("count(*) FROM (SELECT basket_id FROM lines GROUP BY basket_id HAVING sum(spend) > 0)", 155370),
    }
    for name, (sql, number) in expected.items():
        found = db.execute("SELECT " + sql).fetchall()[0][0]
        print(f"{name}: {found:,}")
        if found != number:
            sys.exit(f"the published data has {number:,} {name}: fetch it again")


def enrich(db):
    """household_360."""
    db.execute("""
        CREATE TABLE orders AS
        SELECT basket_id, household_id, min(moment) AS moment, min(here) AS here, min(store_id) AS store_id, sum(spend) AS spend, sum(saved) AS saved,
               bool_or(fuel) AS fuel
        FROM lines GROUP BY basket_id, household_id HAVING sum(spend) > 0;

        CREATE TABLE by_order AS
        SELECT household_id, count(*) AS order_count, count(DISTINCT CAST(here AS DATE)) AS active_days, count(DISTINCT store_id) AS distinct_stores,
               min(moment) AS first_order_at, max(moment) AS last_order_at, CAST(sum(spend) AS BIGINT) AS spend_cents, CAST(sum(saved) AS BIGINT) AS saved_cents,
               count(*) FILTER (moment >= as_of() - INTERVAL 30 DAYS) AS orders_30d, count(*) FILTER (moment >= as_of() - INTERVAL 90 DAYS) AS orders_90d,
               CAST(ifnull(sum(spend) FILTER (moment >= as_of() - INTERVAL 90 DAYS), 0) AS BIGINT) AS spend_cents_90d,
               CAST(ifnull(sum(spend) FILTER (moment >= as_of() - INTERVAL 180 DAYS AND moment < as_of() - INTERVAL 90 DAYS), 0) AS BIGINT) AS before,
               avg(CAST(isodow(here) > 5 AS INT)) AS share_weekend, avg(CAST(hour(here) >= 18 AS INT)) AS share_evening,
               avg(CAST(fuel AS INT)) AS share_with_fuel,
               DATE '2018-01-01' - CAST(max(here) AS DATE) AS recency_days, DATE '2018-01-01' - CAST(min(here) AS DATE) AS first_days
        FROM orders GROUP BY household_id;

        CREATE TABLE by_habit AS
        WITH named AS (
            SELECT household_id, isodow(here) AS weekday,
                   CASE hour(here) // 6 WHEN 0 THEN 'night' WHEN 1 THEN 'morning' WHEN 2 THEN 'afternoon' ELSE 'evening' END AS daypart FROM orders),
        dayparts AS (SELECT household_id, daypart, row_number() OVER (PARTITION BY household_id ORDER BY count(*) DESC, daypart) AS place
                     FROM named GROUP BY household_id, daypart),
        weekdays AS (SELECT household_id, weekday, row_number() OVER (PARTITION BY household_id ORDER BY count(*) DESC, weekday) AS place
                     FROM named GROUP BY household_id, weekday)
        SELECT household_id, daypart AS preferred_daypart, weekday AS preferred_weekday
        FROM dayparts d JOIN weekdays w USING (household_id) WHERE d.place = 1 AND w.place = 1;

        CREATE TABLE by_line AS
        SELECT household_id, count(*) AS line_count, count(*) FILTER (spend = 0) AS zero_value_lines,
               CAST(ifnull(sum(spend) FILTER (fuel), 0) AS BIGINT) AS fuel_cents, CAST(ifnull(sum(quantity) FILTER (NOT fuel), 0) AS BIGINT) AS units,
               count(DISTINCT product_id) FILTER (NOT fuel) AS distinct_products, count(DISTINCT department) FILTER (NOT fuel) AS distinct_departments
        FROM lines GROUP BY household_id;

        CREATE TABLE by_gap AS
        WITH days AS (SELECT DISTINCT household_id, CAST(here AS DATE) AS day FROM orders)
        SELECT household_id, CAST(max(day) - min(day) AS DOUBLE) / nullif(count(*) - 1, 0) AS usual_gap_days FROM days GROUP BY household_id;

        CREATE TABLE by_department AS
        WITH each AS (SELECT household_id, department, sum(spend) AS spend, count(*) AS n FROM lines WHERE department IS NOT NULL AND NOT fuel GROUP BY ALL)
        SELECT household_id, list(department ORDER BY spend DESC, department)[1] AS top_department, max(spend) / nullif(sum(spend), 0) AS top_department_share,
               ln(sum(n)) - sum(n * ln(n)) / sum(n) AS department_entropy
        FROM each GROUP BY household_id;

        CREATE TABLE household_all AS
        SELECT o.*, preferred_daypart, preferred_weekday, l.* EXCLUDE (household_id), usual_gap_days, d.* EXCLUDE (household_id),
               t.household_id IS NOT NULL AS demographics_known, ifnull(age, 'unknown') AS age_band, ifnull(t.household_size, 'unknown') AS household_size,
               ifnull(kids_count, 'unknown') AS kids,
               CASE WHEN income IS NULL THEN 'unknown' WHEN income IN ('Under 15K', '15-24K', '25-34K') THEN 'under 35K'
                    WHEN income IN ('35-49K', '50-74K') THEN income ELSE '75K and more' END AS income_band,
               CAST(spend_cents AS DOUBLE) / 100 / order_count AS avg_basket, saved_cents / (spend_cents + saved_cents) AS saved_share,
               fuel_cents / spend_cents AS fuel_share,
               CAST(spend_cents_90d - before AS DOUBLE) / nullif(spend_cents_90d + before, 0) AS spend_trend
        FROM by_line l LEFT JOIN by_order o USING (household_id) LEFT JOIN by_habit USING (household_id) LEFT JOIN by_gap USING (household_id)
        LEFT JOIN by_department d USING (household_id) LEFT JOIN told t USING (household_id);
        CREATE TABLE household_360 AS SELECT * EXCLUDE (before, first_days) FROM household_all;""")


def cluster(db):
    """The table `clusters`: Lloyd's k-means from five given households until nobody moves, at most 100 rounds."""
    raw = ", ".join(f"CAST({f} AS DOUBLE) AS r{i}" for i, f in enumerate(FEATURES))
    db.execute(f"CREATE TABLE raw AS SELECT household_id, {raw} FROM household_360")
    xs = [f"x{i}" for i in range(len(FEATURES))]
    scaled = ", ".join(f"(r{i} - (SELECT avg(r{i}) FROM raw)) / (SELECT stddev_pop(r{i}) FROM raw) AS x{i}" for i in range(len(FEATURES)))
    db.execute(f"CREATE TABLE points AS SELECT household_id, {scaled} FROM raw")
    points = db.execute("FROM points ORDER BY household_id").fetchall()
    first = db.execute("SELECT household_id FROM points ORDER BY md5('style:1:' || household_id), household_id LIMIT 5").fetchall()
    by_id = {p[0]: p[1:] for p in points}
    centres, of = [by_id[h] for (h,) in first], None
    for _ in range(101):
        now = [min(range(5), key=lambda c: (math.fsum((a - b) ** 2 for a, b in zip(p[1:], centres[c])), c)) for p in points]
        if now == of:
            break
        of = now
        for c in range(5):
            members = [p[1:] for p, n in zip(points, of) if n == c]
            if not members:
                sys.exit(f"cluster {c} is empty: this script does not say what happens then")
            centres[c] = tuple(math.fsum(column) / len(members) for column in zip(*members))
    db.execute("CREATE TABLE clusters (household_id INT, style INT)")
    db.executemany("INSERT INTO clusters VALUES (?, ?)", [(p[0], c) for p, c in zip(points, of)])


def segment(db):
    """household_segments and segment_profile."""
    cluster(db)
    db.execute("""
        CREATE TABLE household_segments AS
        SELECT household_id, CAST(6 - ntile(5) OVER (ORDER BY recency_days, household_id) AS INT) AS r_score,
               CAST(ntile(5) OVER (ORDER BY order_count, household_id) AS INT) AS f_score,
               CAST(ntile(5) OVER (ORDER BY spend_cents, household_id) AS INT) AS m_score, concat(r_score, f_score, m_score) AS rfm_cell,
               CASE WHEN first_days <= 60 THEN 'new' WHEN recency_days <= 21 THEN 'active' WHEN recency_days <= 63 THEN 'lapsing' ELSE 'lapsed' END AS lifecycle,
               ['light', 'medium', 'heavy'][ntile(3) OVER (ORDER BY spend_cents, household_id)] AS value, style
        FROM household_all JOIN clusters USING (household_id);
        CREATE VIEW everybody AS FROM household_360 JOIN household_segments USING (household_id);""")
    means = ", ".join(f"avg({sql}) AS mean_{name}" for name, sql in DESCRIBED.items())
    columns = ", ".join(f"s.mean_{n}, 100 * s.mean_{n} / nullif(a.mean_{n}, 0) AS index_{n}" for n in DESCRIBED)
    each = " UNION ALL ".join(f"SELECT '{k}' AS kind, CAST({k} AS VARCHAR) AS segment, count(*) AS size, {means} FROM everybody GROUP BY {k}"
                              for k in ("lifecycle", "value", "style"))
    db.execute(f"""CREATE TABLE segment_profile AS
        WITH overall AS (SELECT count(*) AS size, {means} FROM everybody), each AS ({each})
        SELECT kind, segment, s.size, s.size / a.size AS share, {columns} FROM each s CROSS JOIN overall a""")


def allocation(sizes):
    """Sample sizes by stratum: proportional by largest remainder; a stratum below its least gets that, the others share the rest."""
    fixed = {}
    while True:
        free = {s: n for s, n in sizes.items() if s not in fixed}
        left, total = SAMPLE - sum(fixed.values()), sum(free.values())
        take = {s: left * n // total for s, n in free.items()}
        for s in sorted(free, key=lambda s: (-(left * free[s] % total), s))[: left - sum(take.values())]:
            take[s] += 1
        below = {s: min(LEAST, sizes[s]) for s in free if take[s] < min(LEAST, sizes[s])}
        if not below:
            return {**fixed, **take}
        fixed.update(below)


def check_panel(db, folder):
    """Stops at the first thing that is wrong with a drawn panel."""
    files = glob.glob(os.path.join(folder, "**", "*.parquet"), recursive=True)
    db.execute(f"CREATE VIEW drawn AS FROM read_parquet({files!r}, hive_partitioning = false)")
    wrong = db.execute("""SELECT count(*) FROM drawn d LEFT JOIN everybody e USING (household_id) WHERE NOT ifnull(e.demographics_known, false)
        OR d.value <> e.value OR d.household_size <> e.household_size OR d.age_band <> e.age_band OR d.income_band <> e.income_band""").fetchall()[0][0]
    total, people = db.execute("SELECT count(*), count(DISTINCT household_id) FROM drawn").fetchall()[0]
    if wrong or total != SAMPLE or people != SAMPLE:
        sys.exit(f"{total} rows of {people} households, {wrong} of them unknown or with other attributes; {SAMPLE} right ones were asked for")
    strata = "SELECT value, household_size, count(*) FROM {} GROUP BY ALL"
    sizes = {(v, h): n for v, h, n in db.execute(strata.format("everybody WHERE demographics_known")).fetchall()}
    taken = {(v, h): n for v, h, n in db.execute(strata.format("drawn")).fetchall()}
    if taken != {s: n for s, n in allocation(sizes).items() if n}:
        sys.exit(f"strata hold {taken}, the allocation is {allocation(sizes)}")
    for value, size, rank, weight in db.execute("SELECT value, household_size, stratum_rank, design_weight FROM drawn").fetchall():
        if not (1 <= rank <= taken[value, size]) or not math.isclose(weight, sizes[value, size] / taken[value, size], rel_tol=1e-12):
            sys.exit(f"rank {rank} and design weight {weight} in stratum {value}, {size}")
    for margin in MARGINS:
        targets = dict(db.execute(f"SELECT {margin}, count(*) FROM everybody WHERE demographics_known GROUP BY ALL").fetchall())
        for level, weight in db.execute(f"SELECT {margin}, sum(weight) FROM drawn GROUP BY ALL").fetchall():
            if not math.isclose(weight, targets.pop(level), rel_tol=2e-6):
                sys.exit(f"the weights of {margin} {level} add up to {weight}")
        if targets:
            sys.exit(f"nobody stands for {margin} {', '.join(targets)}")
    print("the panel is a right draw with right weights")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder that pipelines/complete_journey/fetch.sh made")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--panel", help="folder with the panel_sample of a run, to check")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    db = duckdb.connect()
    read_sources(db, args.data)
    enrich(db)
    segment(db)
    for name in ("household_360", "household_segments", "segment_profile"):
        db.execute(f"COPY {name} TO '{args.out}/{name}.parquet' (FORMAT parquet)")
    if args.panel:
        check_panel(db, args.panel)


if __name__ == "__main__":
    main()
