#!/usr/bin/env python3
"""The c360 pipeline once more, by other means: DuckDB SQL and plain Python, written from the definitions of the outputs.

    python3 tests/oracle/c360_oracle.py --data DIR --out DIR [--as-of 2026-01-01]

Writes customer_360, customer_segments, segment_profile and panel_sample as one .parquet file each. It is what
`pipelines/c360` is held against in tests. It never shares a line with Strata, and it is written to be read, not to be fast.
"""
import argparse
import datetime
import math
import os

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

CLUSTERS, ITERATIONS = 8, 20
DESCRIBED = {
    "age": "age", "recency_days": "recency_days", "order_count": "order_count", "net": "net_cents / 100",
    "avg_basket": "avg_basket", "share_online": "share_online", "discount_share": "discount_share",
    "distinct_categories": "distinct_categories", "web_sessions": "web_sessions", "survey_mean": "survey_mean",
    "postal_income": "postal_income",
}
MARGINS = ["home_region", "gender", "age_band"]


def read_sources(db, data, as_of):
    """Views over the files that hold only what was known before `as_of`, and money as whole cents."""
    db.execute(f"CREATE MACRO as_of() AS TIMESTAMP '{as_of}'")
    db.execute("CREATE MACRO days_since(t) AS CAST(as_of() AS DATE) - CAST(t AS DATE)")
    for name in ("customers", "products", "stores", "postal_demographics"):
        db.execute(f"CREATE VIEW {name} AS FROM read_parquet('{data}/{name}.parquet')")
    # One row a (txn_id, line_no): copies are equal in every column, so any will do.
    db.execute(f"""
        CREATE TABLE lines AS
        SELECT DISTINCT ON (txn_id, line_no) txn_id, line_no, customer_id, store_id, channel, ts, t.item_id, quantity, is_return, category,
               quantity * CAST(unit_price * 100 AS BIGINT) AS gross, CAST(ifnull(discount, 0) * 100 AS BIGINT) AS disc
        FROM read_parquet('{data}/transactions/*/*.parquet', hive_partitioning = false) t LEFT JOIN products p ON p.item_id = t.item_id
        WHERE customer_id IS NOT NULL AND ts < as_of()""")
    db.execute(f"""
        CREATE TABLE events AS SELECT * FROM read_parquet('{data}/web_events/*/*.parquet', hive_partitioning = false)
        WHERE customer_id IS NOT NULL AND ts < as_of()""")
    db.execute(f"CREATE TABLE answers AS FROM read_parquet('{data}/survey_responses.parquet') WHERE answered_at < as_of()")
    db.execute(f"CREATE TABLE contacts AS FROM read_parquet('{data}/panel_contacts.parquet') WHERE sent_at < as_of()")


def enrich(db):
    """customer_360: one view for each family of attributes, joined to the roster at the end."""
    db.execute("""
        CREATE VIEW bought AS FROM lines WHERE NOT is_return;
        CREATE TABLE orders AS
        SELECT txn_id, customer_id, min(ts) AS ts, min(channel) AS channel, min(store_id) AS store_id FROM bought GROUP BY ALL;

        CREATE TABLE by_order AS
        SELECT customer_id, count(*) AS order_count, count(DISTINCT store_id) AS distinct_stores,
               count(DISTINCT CAST(ts AS DATE)) AS active_days, min(ts) AS first_purchase_at, max(ts) AS last_purchase_at,
               avg(CAST(channel = 'store' AS INT)) AS share_store, avg(CAST(channel = 'online' AS INT)) AS share_online,
               avg(CAST(channel = 'app' AS INT)) AS share_app,
               count(*) FILTER (ts >= as_of() - INTERVAL 90 DAYS) AS orders_90d,
               count(*) FILTER (ts >= as_of() - INTERVAL 365 DAYS) AS orders_365d,
               count(*) FILTER (ts >= as_of() - INTERVAL 730 DAYS AND ts < as_of() - INTERVAL 365 DAYS) AS orders_prev_365d
        FROM orders GROUP BY customer_id;

        CREATE TABLE by_habit AS
        WITH named AS (
            SELECT customer_id, isodow(ts) AS weekday,
                   CASE hour(ts) // 6 WHEN 0 THEN 'night' WHEN 1 THEN 'morning' WHEN 2 THEN 'afternoon' ELSE 'evening' END AS daypart
            FROM orders),
        dayparts AS (SELECT customer_id, daypart, row_number() OVER (PARTITION BY customer_id ORDER BY count(*) DESC, daypart) AS place
                     FROM named GROUP BY customer_id, daypart),
        weekdays AS (SELECT customer_id, weekday, row_number() OVER (PARTITION BY customer_id ORDER BY count(*) DESC, weekday) AS place
                     FROM named GROUP BY customer_id, weekday)
        SELECT customer_id, daypart AS preferred_daypart, weekday AS preferred_weekday
        FROM dayparts d JOIN weekdays w USING (customer_id) WHERE d.place = 1 AND w.place = 1;

        CREATE TABLE by_line AS
        SELECT customer_id, count(*) FILTER (NOT is_return) AS line_count, count(*) FILTER (is_return) AS return_line_count,
               sum(quantity) FILTER (NOT is_return) AS units, sum(gross) FILTER (NOT is_return) AS gross_cents,
               sum(disc) FILTER (NOT is_return) AS discount_cents,
               count(DISTINCT item_id) FILTER (NOT is_return) AS distinct_items,
               count(DISTINCT category) FILTER (NOT is_return) AS distinct_categories,
               sum(net) AS net_cents, sum(net) FILTER (ts >= as_of() - INTERVAL 90 DAYS) AS net_90d_cents,
               sum(net) FILTER (ts >= as_of() - INTERVAL 365 DAYS) AS net_365d_cents,
               sum(net) FILTER (ts >= as_of() - INTERVAL 180 DAYS AND ts < as_of() - INTERVAL 90 DAYS) AS net_before_cents
        FROM (SELECT *, if(is_return, -1, 1) * (gross - disc) AS net FROM lines) GROUP BY customer_id;

        CREATE TABLE by_gap AS
        WITH days AS (SELECT DISTINCT customer_id, CAST(ts AS DATE) AS day FROM orders),
        gaps AS (SELECT customer_id, day - lag(day) OVER (PARTITION BY customer_id ORDER BY day) AS gap FROM days)
        SELECT customer_id, avg(gap) AS ipt_mean_days,
               CASE WHEN count(gap) > 1 THEN sqrt((count(gap) * sum(gap * gap) - sum(gap) * sum(gap)) / (count(gap) * (count(gap) - 1))) END AS ipt_std_days
        FROM gaps GROUP BY customer_id;

        CREATE TABLE by_category AS
        WITH each AS (SELECT customer_id, category, sum(gross - disc) AS spend, count(*) AS n FROM bought WHERE category IS NOT NULL GROUP BY ALL)
        SELECT customer_id, list(category ORDER BY spend DESC, category)[1] AS top_category, max(spend) / nullif(sum(spend), 0) AS top_category_share,
               ln(sum(n)) - sum(n * ln(n)) / sum(n) AS category_entropy
        FROM each GROUP BY customer_id;

        CREATE TABLE by_visit AS
        SELECT customer_id, count(DISTINCT session_id) AS web_sessions,
               count(DISTINCT session_id) FILTER (ts >= as_of() - INTERVAL 90 DAYS) AS web_sessions_90d,
               count(*) FILTER (event_type = 'view') AS web_views, count(*) FILTER (event_type = 'cart') AS cart_events,
               days_since(max(ts)) AS days_since_visit
        FROM events GROUP BY customer_id;

        CREATE TABLE by_cart AS
        SELECT customer_id, count(*) AS carts_abandoned_7d FROM events AS cart
        WHERE event_type = 'cart' AND item_id IS NOT NULL AND ts < as_of() - INTERVAL 7 DAYS AND NOT EXISTS (
            FROM events AS sale WHERE sale.event_type = 'purchase' AND sale.customer_id = cart.customer_id AND sale.item_id = cart.item_id
            AND sale.ts >= cart.ts AND sale.ts <= cart.ts + INTERVAL 7 DAYS)
        GROUP BY customer_id;

        CREATE TABLE by_answer AS
        WITH each AS (
            SELECT customer_id, answered_at, list_sum(given) AS total, len(given) AS n,
                   row_number() OVER (PARTITION BY customer_id ORDER BY answered_at DESC, wave DESC) AS place
            FROM (SELECT *, list_filter([q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12], lambda q: q IS NOT NULL) AS given FROM answers))
        SELECT customer_id, count(*) AS survey_count, max(total / nullif(n, 0)) FILTER (place = 1) AS survey_last_mean,
               sum(total) / nullif(sum(n), 0) AS survey_mean, days_since(max(answered_at)) AS days_since_survey
        FROM each GROUP BY customer_id;

        CREATE TABLE by_contact AS
        SELECT customer_id, count(*) AS contacts_total, count(*) FILTER (sent_at >= as_of() - INTERVAL 90 DAYS) AS contacts_90d,
               count(*) FILTER (responded_at < as_of()) / count(*) AS contact_response_rate
        FROM contacts GROUP BY customer_id;""")
    counts = ("order_count", "distinct_stores", "active_days", "orders_90d", "orders_365d", "orders_prev_365d", "line_count", "return_line_count",
              "units", "gross_cents", "discount_cents", "distinct_items", "distinct_categories", "net_cents", "net_90d_cents", "net_365d_cents",
              "web_sessions", "web_sessions_90d", "web_views", "cart_events", "carts_abandoned_7d", "survey_count", "contacts_total", "contacts_90d")
    families = ("order", "habit", "line", "gap", "category", "visit", "cart", "answer", "contact")
    joins = " ".join(f"LEFT JOIN by_{f} USING (customer_id)" for f in families)
    zeros = ", ".join(f"CAST(ifnull({c}, 0) AS BIGINT) AS {c}" for c in counts)
    db.execute(f"""
        CREATE TABLE customer_360 AS
        WITH known AS (
            SELECT customer_id, CAST(date_part('year', age(CAST(as_of() AS DATE), birth_date)) AS INT) AS age, ifnull(gender, 'U') AS gender,
                   CAST(days_since(joined_at) AS INT) AS tenure_days, email IS NOT NULL AND email_opt_in AS email_ok,
                   phone IS NOT NULL AND sms_opt_in AS sms_ok, research_opt_in, coalesce(s.region, p.region, 'unknown') AS home_region,
                   median_income AS postal_income, urbanicity
            FROM customers LEFT JOIN stores s ON store_id = home_store_id LEFT JOIN postal_demographics p USING (postal_code)),
        counted AS (
            SELECT known.*, {zeros}, first_purchase_at, last_purchase_at, share_store, share_online, share_app, preferred_daypart, preferred_weekday,
                   ipt_mean_days, ipt_std_days, top_category, top_category_share, category_entropy, days_since_visit, survey_last_mean, survey_mean,
                   days_since_survey, contact_response_rate, ifnull(net_before_cents, 0) AS net_before
            FROM known {joins})
        SELECT * EXCLUDE (net_before), days_since(last_purchase_at) AS recency_days,
               return_line_count / nullif(line_count + return_line_count, 0) AS return_rate,
               CAST(gross_cents - discount_cents AS DOUBLE) / 100 / nullif(order_count, 0) AS avg_basket,
               line_count / nullif(order_count, 0) AS lines_per_order, discount_cents / nullif(gross_cents, 0) AS discount_share,
               CAST(net_90d_cents - net_before AS DOUBLE) / nullif(abs(net_90d_cents) + abs(net_before), 0) AS spend_trend,
               CASE WHEN age IS NULL THEN 'unknown' WHEN age >= 65 THEN '65+' WHEN age >= 55 THEN '55-64' WHEN age >= 45 THEN '45-54'
                    WHEN age >= 35 THEN '35-44' WHEN age >= 25 THEN '25-34' WHEN age >= 18 THEN '18-24' ELSE 'under_18' END AS age_band
        FROM counted""")


def cluster(db):
    """The table `clusters`: Lloyd's k-means over standardised features, from eight given customers."""
    features = ["ln(1 + recency_days)", "ln(1 + order_count)", "ln(1 + greatest(net_cents, 0) / 100)", "ln(1 + avg_basket)",
                "ln(1 + distinct_categories)", "1 - share_store", "discount_share", "ln(1 + web_sessions)"]
    raw = ", ".join(f"CAST({f} AS DOUBLE) AS r{i}" for i, f in enumerate(features))
    db.execute(f"CREATE TABLE raw AS SELECT customer_id, {raw} FROM customer_360 WHERE order_count > 0")
    scaled = ", ".join(f"ifnull((r{i} - (SELECT avg(r{i}) FROM raw)) / nullif((SELECT stddev_pop(r{i}) FROM raw), 0), 0) AS x{i}"
                       for i in range(len(features)))
    db.execute(f"CREATE TABLE points AS SELECT customer_id, {scaled} FROM raw")
    xs = [f"x{i}" for i in range(len(features))]
    centres = db.execute(f"SELECT {', '.join(xs)} FROM points ORDER BY md5('kmeans:42:' || customer_id), customer_id LIMIT {CLUSTERS}").fetchall()

    def nearest():
        """SQL for the number of the nearest centre; of equal ones the lowest."""
        far = ", ".join("+".join(f"({x} - ({c!r}::DOUBLE))**2" for x, c in zip(xs, centre)) for centre in centres)
        return f"list_position([{far}], list_min([{far}])) - 1"

    for _ in range(ITERATIONS):
        moved = db.execute(f"SELECT {nearest()} AS c, {', '.join(f'avg({x})' for x in xs)} FROM points GROUP BY c").fetchall()
        centres = list(centres)
        for number, *mean in moved:
            centres[number] = tuple(mean)
    db.execute(f"CREATE TABLE clusters AS SELECT customer_id, CAST({nearest()} AS INT) AS cluster FROM points")


def segment(db):
    """customer_segments and segment_profile."""
    cluster(db)
    db.execute("""
        CREATE TABLE scores AS
        SELECT customer_id, ntile(5) OVER (ORDER BY recency_days DESC, customer_id) AS r, ntile(5) OVER (ORDER BY order_count, customer_id) AS f,
               ntile(5) OVER (ORDER BY net_cents, customer_id) AS m
        FROM customer_360 WHERE order_count > 0;
        CREATE TABLE customer_segments AS
        SELECT customer_id, CAST(ifnull(r, 0) AS INT) AS r_score, CAST(ifnull(f, 0) AS INT) AS f_score, CAST(ifnull(m, 0) AS INT) AS m_score,
               printf('%d%d%d', r_score, f_score, m_score) AS rfm_cell, cluster,
               CASE WHEN order_count = 0 THEN 'prospect' WHEN days_since(first_purchase_at) <= 60 THEN 'new'
                    WHEN recency_days <= 1.5 * usual THEN 'active' WHEN recency_days <= 3 * usual THEN 'lapsing' ELSE 'lost' END AS lifecycle
        FROM (SELECT *, CAST(least(120, greatest(14, ifnull(ipt_mean_days, 60))) AS DOUBLE) AS usual FROM customer_360)
        LEFT JOIN scores USING (customer_id) LEFT JOIN clusters USING (customer_id);
        CREATE VIEW everybody AS FROM customer_360 JOIN customer_segments USING (customer_id);""")
    means = ", ".join(f"avg({sql}) AS mean_{name}" for name, sql in DESCRIBED.items())
    columns = ", ".join(f"s.mean_{n}, 100 * s.mean_{n} / nullif(a.mean_{n}, 0) AS index_{n}" for n in DESCRIBED)
    db.execute(f"""
        CREATE TABLE segment_profile AS
        WITH overall AS (SELECT count(*) AS size, {means} FROM everybody),
        each AS (SELECT 'lifecycle' AS kind, lifecycle AS segment, count(*) AS size, {means} FROM everybody GROUP BY lifecycle
                 UNION ALL
                 SELECT 'cluster', CAST(cluster AS VARCHAR), count(*), {means} FROM everybody WHERE cluster IS NOT NULL GROUP BY cluster)
        SELECT kind, segment, s.size, s.size / a.size AS share, {columns} FROM each s CROSS JOIN overall a""")


def allocate(sizes, sample):
    """Sample sizes by stratum: proportional by largest remainder, then at least five or the whole stratum. Integers only."""
    total = sum(sizes.values())
    take = {stratum: sample * size // total for stratum, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda stratum: (-(sample * sizes[stratum] % total), stratum))
    for stratum in by_remainder[: sample - sum(take.values())]:
        take[stratum] += 1
    return {stratum: min(size, max(take[stratum], 5)) for stratum, size in sizes.items()}


def rake(rows, population, weights):
    """Weights whose sums by margin come to the population's shares; at most fifty rounds."""
    n = len(rows)
    start = n / math.fsum(weights)
    weights = [w * start for w in weights]
    targets = []
    for margin, counts in enumerate(population):
        present = {level: c for level, c in counts.items() if any(row[margin] == level for row in rows)}
        targets.append({level: n * c / sum(present.values()) for level, c in present.items()})

    def sums(margin):
        parts = {level: [] for level in targets[margin]}
        for row, w in zip(rows, weights):
            parts[row[margin]].append(w)
        return {level: math.fsum(p) for level, p in parts.items()}

    for _ in range(50):
        for margin, target in enumerate(targets):
            now = sums(margin)
            weights = [w * target[row[margin]] / now[row[margin]] for row, w in zip(rows, weights)]
        worst = max(abs(now - target[level]) / target[level] for m, target in enumerate(targets) for level, now in sums(m).items())
        if worst < 1e-6:
            break
    return weights


def draw(db):
    """panel_sample."""
    db.execute("""
        CREATE TABLE eligible AS
        SELECT customer_id, lifecycle, home_region, gender, age_band, rfm_cell, cluster,
               row_number() OVER (PARTITION BY lifecycle, home_region ORDER BY md5('panel:42:' || customer_id), customer_id) AS stratum_rank
        FROM everybody WHERE research_opt_in AND age >= 18 AND contacts_90d < 3 AND (email_ok OR sms_ok)""")
    sizes = {(life, region): n for life, region, n in db.execute("SELECT lifecycle, home_region, count(*) FROM eligible GROUP BY ALL").fetchall()}
    take = allocate(sizes, 2 * db.execute("SELECT count(*) FROM customers").fetchall()[0][0] // 100)
    table = db.sql("SELECT e.*, email, phone FROM eligible e JOIN customers USING (customer_id) ORDER BY customer_id").to_arrow_table()
    rows = [r for r in table.to_pylist() if r["stratum_rank"] <= take[r["lifecycle"], r["home_region"]]]
    for row in rows:
        stratum = row["lifecycle"], row["home_region"]
        row["design_weight"] = sizes[stratum] / take[stratum]
    population = [dict(db.execute(f"SELECT {m}, count(*) FROM customer_360 WHERE age >= 18 GROUP BY ALL").fetchall()) for m in MARGINS]
    weights = rake([[row[m] for m in MARGINS] for row in rows], population, [row["design_weight"] for row in rows])
    for row, weight in zip(rows, weights):
        row["weight"] = weight
    fields = [(f.name, f.type) for f in table.schema] + [("design_weight", pa.float64()), ("weight", pa.float64())]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with the eight tables")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--as-of", default="2026-01-01", type=datetime.datetime.fromisoformat, help="an instant, UTC")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    db = duckdb.connect()
    db.execute("SET threads = 2")
    read_sources(db, args.data, args.as_of.replace(tzinfo=None))
    enrich(db)
    segment(db)
    for name in ("customer_360", "customer_segments", "segment_profile"):
        db.execute(f"COPY {name} TO '{args.out}/{name}.parquet' (FORMAT parquet)")
    pq.write_table(draw(db), os.path.join(args.out, "panel_sample.parquet"))


if __name__ == "__main__":
    main()
