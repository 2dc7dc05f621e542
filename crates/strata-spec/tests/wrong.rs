//! Wrong files, each with every diagnostic it must give: code, line and column, and a word of the help. Never a diagnostic too
//! many.

use strata_spec::{Diagnostic, SourceText, load};

/// Lines 1 to 3 of files that need sources; what follows starts on line 4.
const HEAD: &str = "version: 1\nname: t\nsources: {c: {parquet: c, key: id}, o: {parquet: o, time: ts}}\n";
/// Lines 1 to 5 of files that need an entity with attributes; what follows starts on line 6.
const PEOPLE: &str = "version: 1\nname: t\nsources: {c: {parquet: c, key: id}, o: {parquet: o, time: ts}}\n\
                      entities: {p: {from: c, key: id}}\nattributes: {p: [{row: {age: a, city: b, _h: x}}]}\n";

fn diagnostics(text: &str, vars: &[(String, String)]) -> (SourceText, Vec<Diagnostic>) {
    let source = SourceText { path: "p.yaml".to_owned(), text: text.to_owned() };
    let loaded = load(&source, vars);
    assert_eq!(loaded.pipeline.is_some(), loaded.diagnostics.is_empty(), "{:#?}", loaded.diagnostics);
    (source, loaded.diagnostics)
}

/// Asserts all diagnostics, as `code line:column`, and that each help line holds its word.
fn wrong(text: &str, expected: &[(&str, &str)]) {
    let (source, found) = diagnostics(text, &[]);
    let said: Vec<String> =
        found.iter().map(|d| format!("{} {}", d.code, source.place(d.span).trim_start_matches("p.yaml:"))).collect();
    let places: Vec<&str> = expected.iter().map(|(place, _)| *place).collect();
    assert_eq!(said, places, "\n{text}\n{found:#?}");
    for (diagnostic, (_, word)) in found.iter().zip(expected) {
        let help = diagnostic.help.as_deref().unwrap_or_default();
        assert!(help.contains(word), "`{word}` is not in `{help}`");
        assert!(
            !diagnostic.message.starts_with(char::is_uppercase) || diagnostic.message.starts_with("YAML"),
            "{}",
            diagnostic.message
        );
    }
}

fn wrong_source(body: &str, expected: &[(&str, &str)]) {
    wrong(&format!("version: 1\nname: t\nsources:\n{body}"), expected);
}

fn wrong_after(head: &str, body: &str, expected: &[(&str, &str)]) {
    wrong(&format!("{head}{body}"), expected);
}

#[test]
fn heads_are_right() {
    for head in [HEAD, PEOPLE] {
        wrong(head, &[]);
    }
}

#[test]
fn yaml_traps_give_advice() {
    wrong_source("  a: {parquet: x, derive: {b: y < coalesce(z, 1), c: z}}\n", &[("S0108 4:31", "quote this, or use `|`")]);
    wrong_source("  a: {parquet: x, columns: {p: decimal(12,2)!}}\n", &[("S0108 4:32", "quote this")]);
    wrong_source("  a: {parquet: x, key: [f(a, b), c]}\n", &[("S0108 4:25", "quote this")]);
    wrong_source("  a:\n    parquet: x\n    where: 'a' || b\n", &[("S0101 6:16", "starts with `'`")]);
    wrong_source("  a:\n    parquet: x\n    where: [1] = b\n", &[("S0101 6:16", "starts with `[`")]);
    wrong_source("  a:\n    parquet: x\n    where: %b\n", &[("S0101 6:12", "starts with `%`")]);
    wrong_source("  a:\n    parquet: x\n    where: - b\n", &[("S0101 6:12", "starts with `-`")]);
    wrong_source("  a:\n    parquet: x\n    where: a: b\n", &[("S0101 6:13", "`: ` inside a value")]);
    wrong_source("  a:\n    parquet: x\n    where: !returned\n", &[("S0109 6:12", "use `|`")]);
    wrong_source("  a:\n    parquet: x\n    where: [a, b]\n", &[("S0104 6:12", "use `|`")]);
    wrong_source("  a:\n    parquet: x\n\ttime: y\n", &[("S0101 5:14", "spaces")]);
    wrong_source("  a:\n    parquet: \"x\n    time: y\n", &[("S0101 5:14", "never closed")]);
    wrong_source("  a: {parquet: x, derive: {1a: b}}\n", &[("S0107 4:28", "digit")]);
    wrong_source("  a: {parquet: x, derive: {\"f(x\": b}}\n", &[("S0107 4:28", "quote this")]);
}

#[test]
fn what_pipelines_have_none_of_is_refused() {
    wrong_source(
        "  a: &x {parquet: y}\n  b: *x\n",
        &[("S0109 4:6", "write the value out"), ("S0109 5:6", "write the value out")],
    );
    wrong_source("  a: {parquet: x, <<: {key: b}}\n", &[("S0109 4:19", "write the value out")]);
    wrong_source("  a: {parquet: !!str x}\n", &[("S0109 4:16", "write the value out")]);
    wrong("version: 1\n---\nname: b\n", &[("S0112 2:1", "one file holds one pipeline")]);
    wrong("", &[("S0105 1:1", "version: 1")]);
    wrong("- a\n", &[("S0104 1:1", "mapping")]);
    wrong(&"[".repeat(100), &[("S0110 1:65", "brackets")]);
    wrong(&"[".repeat(300), &[("S0110 1:256", "brackets")]);
    wrong(&format!("a: {}", "x".repeat(1 << 20)), &[("S0111 1:1", "sources")]);
    wrong(&format!("version: 1\nname: t\nx:\n {}a\n", "- ".repeat(80)), &[("S0110 4:128", "deep")]);
}

#[test]
fn keys_are_known_once_and_not_empty() {
    wrong_source("  a: {parquet: x, tiem: ts}\n", &[("S0103 4:19", "did you mean `time`")]);
    wrong_source("  a:\n    parquet: x\n    key: a\n    key: b\n", &[("S0102 7:5", "keep one")]);
    let (source, found) = diagnostics("version: 1\nname: a\nname: b\nsources: {c: {parquet: c}}\n", &[]);
    assert_eq!(source.place(found[0].also[0].0), "p.yaml:2:1");
    wrong_source(
        "  a:\n    parquet: x\n    time:\n    where: \"\"\n    key: []\n",
        &[("S0105 6:5", "remove the key"), ("S0105 7:12", "SQL"), ("S0105 8:10", "name")],
    );
    wrong_source(
        "  a: {parquet: {b: c}, time: [ts, x], key: {a: b}}\n",
        &[("S0104 4:16", "path"), ("S0104 4:30", "name"), ("S0104 4:44", "list of names")],
    );
    wrong("name: t\nsources: {a: {parquet: x}}\n", &[("S0106 1:1", "version: 1")]);
    wrong(
        "version: 2\nname: a b\nsources: x\n",
        &[("S0129 1:10", "version: 1"), ("S0107 2:7", "letters"), ("S0104 3:10", "mapping")],
    );
    wrong_after(
        HEAD,
        "tables: {t: {sql: select 1}}\nsorces: {}\n",
        &[("S0106 4:10", "key: column"), ("S0103 5:1", "did you mean `sources`")],
    );
}

#[test]
fn sources_are_whole() {
    wrong_source("  a: {key: x}\n", &[("S0120 4:3", "parquet: path")]);
    wrong_source("  a: {parquet: x, csv: y, columns: {b: int}}\n", &[("S0120 4:19", "keep one")]);
    wrong_source("  a: {csv: x}\n", &[("S0124 4:3", "columns")]);
    wrong_source("  a: {delta: x}\n", &[("S0190 4:7", "Parquet or CSV")]);
    wrong_source(
        "  a: {parquet: x, mode: append, late: 7d}\n",
        &[("S0123 4:19", "time: column"), ("S0123 4:33", "time: column")],
    );
    wrong_source("  a: {parquet: x, mode: apend}\n", &[("S0115 4:25", "did you mean `append`")]);
    wrong_source("  a: {parquet: x, time: ts, late: 3mo}\n", &[("S0117 4:35", "30d")]);
    wrong_source("  a: {parquet: x, duplicates: identical}\n", &[("S0106 4:19", "key: column")]);
    wrong_source("  a: {parquet: x, key: b, duplicates: newest}\n", &[("S0115 4:39", "latest by")]);
    wrong_source(
        "  a:\n    csv: x\n    columns: {b: strng, c: \"decimal(40,2)\", d: \"enum(a,)\"}\n    key: e\n",
        &[
            ("S0125 6:18", "did you mean `string`"),
            ("S0125 6:28", "decimal(p,s)"),
            ("S0125 6:48", "enum(a,b)"),
            ("S0210 7:10", "`b`, `c`, `d`"),
        ],
    );
    wrong_source("  a: {parquet: x, classes: {b: secret}}\n", &[("S0115 4:32", "direct_id")]);
    wrong_source("  a: {parquet: x, licence: none}\n", &[("S0190 4:19", "beside")]);
    wrong_source(
        "  a: {parquet: x, references: {b: stors, c: d, e: stores}}\n  d: {parquet: y}\n  stores: {parquet: z, key: [f, g]}\n",
        &[("S0202 4:35", "did you mean `stores`"), ("S0208 4:45", "add `key"), ("S0208 4:51", "`f`, `g`")],
    );
    wrong_source("  a: {parquet: x, key: k, references: {b: a, c: a}}\n", &[("S0201 4:49", "a as another_name")]);
}

#[test]
fn variables_are_declared() {
    wrong_after(
        HEAD,
        "vars: {data: x}\noutputs: {a: {to: \"${vars.dta}/${run.as_of}\", select: id}}\nentities: {p: {from: c, key: id}}\n",
        &[("S0113 5:20", "did you mean `data`"), ("S0113 5:32", "write `as_of`")],
    );
    wrong_after(
        HEAD,
        "tables:\n  t:\n    key: a\n    sql: |\n      select 'ä',\n        ${env.HOME} as b, ${vars.x\n",
        &[("S0113 9:9", "vars.name"), ("S0113 9:27", "vars.name")],
    );
    let given = [("dta".to_owned(), "x".to_owned())];
    let (source, found) = diagnostics(&format!("{HEAD}vars: {{data: x}}\n"), &given);
    assert_eq!((found[0].code.0, source.place(found[0].span)), ("S0114", "p.yaml:4:1".to_owned()));
    assert!(found[0].help.as_deref().unwrap().contains("did you mean `data`"));
}

#[test]
fn time_is_told() {
    wrong_after(HEAD, "as_of: yesterday\ntimezone: Sydney\n", &[("S0118 4:8", "2026-01-15"), ("S0119 5:11", "Australia/Sydney")]);
    wrong_after(HEAD, "as_of: ${run.asof}\n", &[("S0113 4:8", "vars")]);
    let window = |w: &str| {
        format!(
            "entities: {{p: {{from: c, key: id}}}}\nattributes: {{p: [{{from: o, columns: {{n: {{sql: count(*), window: {w}}}}}}}]}}\n"
        )
    };
    wrong_after(HEAD, &window("365d..730d"), &[("S0117 5:65", "further back first")]);
    wrong_after(HEAD, &window("3 weeks"), &[("S0117 5:65", "90d")]);
    wrong_after(
        HEAD,
        "entities: {p: {from: c, key: id}}\nattributes: {p: [{from: c, columns: {n: {sql: count(*), windows: [90d, life]}}}]}\n",
        &[("S0123 5:67", "add `time: column` to `c`")],
    );
}

#[test]
fn names_are_declared() {
    wrong_after(
        HEAD,
        "entities: {p: {from: d, key: id}}\nconsent: {from: e, purposes: {a: always}}\n",
        &[("S0202 4:22", "`c`, `o`"), ("S0202 5:17", "`c`, `o`")],
    );
    wrong_after(
        HEAD,
        "tables: {c: {key: a, sql: select 1}}\nentities: {o: {from: c, key: id}}\n",
        &[("S0201 4:10", "rename"), ("S0201 5:12", "rename")],
    );
    wrong_after(
        HEAD,
        "entities: {p: {from: c, key: id}}\nattributes: {q: [{row: {a: b}}], p: [{from: ordres, columns: {n: count(*)}}]}\n",
        &[("S0203 5:14", "`p`"), ("S0202 5:45", "sources and tables")],
    );
    wrong_after(
        HEAD,
        "entities: {p: {from: c, key: id}}\nattributes: {p: [{row: {a: b}}, {from: o, columns: {a: count(*)}}]}\nsegments: {a: {where: x}}\n",
        &[("S0201 5:53", "rename"), ("S0201 6:12", "rename")],
    );
    wrong_after(HEAD, "segments: {a: {where: x}}\n", &[("S0106 4:1", "entities")]);
    wrong_after(PEOPLE, "attributes_: {}\n", &[("S0103 6:1", "did you mean `attributes`")]);
}

#[test]
fn outputs_name_what_there_is() {
    let consent = "consent: {from: c, purposes: {marketing: ok, research: ok}}\n";
    wrong_after(
        PEOPLE,
        &format!("{consent}outputs: {{erp: {{to: x, select: age, purpose: markting}}}}\n"),
        &[("S0207 7:46", "did you mean `marketing`")],
    );
    wrong_after(PEOPLE, "outputs: {erp: {to: x, select: age, purpose: service}}\n", &[("S0207 6:46", "consent")]);
    wrong_after(
        PEOPLE,
        "outputs: {a: {to: x, select: [id, agee, email, _h, c.email, d.email, p.email]}}\n",
        &[
            ("S0209 6:35", "did you mean `age`"),
            ("S0209 6:41", "`c.email`"),
            ("S0127 6:48", "leading `_`"),
            ("S0202 6:61", "sources"),
            ("S0202 6:70", "`p` is an entity"),
        ],
    );
    wrong_after(PEOPLE, "outputs: {a: {select: age}, b: {to: x}}\n", &[("S0106 6:11", "to: folder"), ("S0106 6:29", "select")]);
    wrong_after(
        PEOPLE,
        "outputs: {defaults: {to: x, format: iceberg}, a: {select: age}, b: {select: age, format: text}}\n",
        &[("S0190 6:37", "format: delta"), ("S0212 6:65", "own folder"), ("S0115 6:90", "parquet")],
    );
    wrong_after(
        PEOPLE,
        "outputs: {a: {to: \"x/{date}\", select: age, history: scd2}}\n",
        &[("S0126 6:19", "{name}"), ("S0190 6:53", "history: snapshot")],
    );
    wrong_after(
        PEOPLE,
        "outputs: {a: {to: x, select: [age / 2, panel.w, who.*]}}\n",
        &[("S0127 6:31", "attributes"), ("S0127 6:40", "from: panel.w"), ("S0205 6:49", "no profiles and tables")],
    );
    wrong_after(
        PEOPLE,
        "outputs: {a: {to: x, from: panel.w, select: id}, b: {to: y, from: q, select: id}}\n",
        &[("S0206 6:28", "waves"), ("S0203 6:67", "`p`")],
    );
    wrong_after(
        PEOPLE,
        "tables: {t: {key: a, sql: select 1}}\noutputs: {a: {to: x, select: [p.attributes, t.*]}, b: {to: y, from: t, select: p.segments}}\n",
        &[("S0211 7:45", "two outputs"), ("S0211 7:80", "two outputs")],
    );
}

#[test]
fn segmentations_are_of_one_kind() {
    wrong_after(
        PEOPLE,
        "segments: {s: {others: x}, t: {rules: {a: b}, by: age}}\n",
        &[("S0120 6:12", "quantile"), ("S0120 6:28", "kmeans")],
    );
    wrong_after(
        PEOPLE,
        "segments: {s: {method: rfm, bins: 5}, t: {method: lda}}\n",
        &[("S0121 6:24", "`rfm@1`"), ("S0121 6:51", "lifecycle@1")],
    );
    wrong_after(PEOPLE, "segments: {s: {rules: {a: else, b: x}}}\n", &[("S0122 6:27", "the end")]);
    wrong_after(PEOPLE, "segments: {s: {rules: {a: x, a: y, b:}}}\n", &[("S0102 6:30", "rename"), ("S0105 6:36", "SQL")]);
    wrong_after(
        PEOPLE,
        "segments: {s: {by: [age, citty]}, t: {quantile: age}, u: {quantile: age, bins: 2, names: [a]}}\n",
        &[("S0209 6:26", "did you mean `city`"), ("S0106 6:35", "bins: 4"), ("S0128 6:83", "write 2")],
    );
    wrong_after(
        PEOPLE,
        "segments: {s: {method: rfm@1, r: a, f: b, mode: edges, ties: name, others: {r: 0, f: 0, m: 00}}}\n",
        &[("S0106 6:12", "net_cents"), ("S0190 6:62", "ties: id"), ("S0106 6:76", "cell"), ("S0116 6:92", "leading zeros")],
    );
    wrong_after(
        PEOPLE,
        "segments:\n  s:\n    method: kmeans\n    k: 4..9\n    features: [age, incme]\n    scale: robust\n    nulls: median\n    outliers: p99_5\n",
        &[
            ("S0190 7:3", "first_by"),
            ("S0190 9:8", "one number"),
            ("S0190 11:12", "standard"),
            ("S0190 12:12", "coalesce"),
            ("S0190 13:15", "least"),
        ],
    );
    wrong_after(
        PEOPLE,
        "segments:\n  s: {method: kmeans, k: 2, features: [age, incme], init: {centroids: [[1], [1, b], [1, 2]]}, names: {0: a, 2: b}, tolerance: -1}\n",
        &[
            ("S0209 7:45", "attributes and segments"),
            ("S0128 7:71", "write 2"),
            ("S0128 7:72", "one number a feature"),
            ("S0116 7:81", "number"),
            ("S0116 7:109", "from 0 to 1"),
            ("S0116 7:127", "at least 0"),
        ],
    );
    wrong_after(
        PEOPLE,
        "segments: {s: {method: lifecycle@1, orders: a, active: 400, stages: {}}}\n",
        &[("S0106 6:12", "first_days"), ("S0106 6:12", "recency_days"), ("S0116 6:48", "lapsing"), ("S0103 6:61", "rules")],
    );
    wrong_after(PEOPLE, "segments: {s: {preset: rfm@1, cuts: x, anything: 1}}\n", &[("S0103 6:16", "method: rfm@1")]);
}

#[test]
fn profiles_describe_what_there_is() {
    wrong_after(
        PEOPLE,
        "segments: {young: {where: age < 18}}\nprofiles: {w: {of: yuong, describe: [age, agee, age / 2, {x: 1}], stats: [mean, lift, mode]}}\n",
        &[
            ("S0204 7:20", "did you mean `young`"),
            ("S0209 7:43", "did you mean `age`"),
            ("S0107 7:49", "{net: net_cents / 100}"),
            ("S0190 7:81", "mean, index"),
            ("S0115 7:87", "`mean`, `index`"),
        ],
    );
}

#[test]
fn panels_are_whole() {
    wrong_after(
        PEOPLE,
        "panel:\n  members: {purpose: research}\n  seed: 1\n  key: secret\n  waves: {}\n",
        &[
            ("S0120 7:12", "where: condition"),
            ("S0207 7:22", "consent"),
            ("S0120 9:3", "keep one"),
            ("S0115 9:8", "env:NAME"),
            ("S0105 10:10", "at least one"),
        ],
    );
    wrong_after(
        PEOPLE,
        "panel:\n  members: {where: age >= 18}\n  waves:\n    w:\n      sample: 120%\n      strata: [city, regoin]\n      allocate: {by: neyman, rounding: nearest, min: 5, max: 2}\n      weights: {rake: [agee], absent: collapse, cap: 5}\n      quotas: {}\n",
        &[
            ("S0116 10:15", "100%"),
            ("S0209 11:22", "`age`"),
            ("S0120 12:7", "remove one"),
            ("S0106 12:17", "measure: spend"),
            ("S0120 12:30", "by: proportional"),
            ("S0116 12:57", "lower `min`"),
            ("S0209 13:24", "did you mean `age`"),
            ("S0120 14:7", "keep one"),
            ("S0105 14:15", "entry"),
        ],
    );
    wrong_after(
        PEOPLE,
        "panel:\n  members: {rules: {adult: age > 18, rest: else}}\n  fatigue: {}\n  waves: {w-1: {sample: 0, strata: {age: x}}}\n",
        &[
            ("S0122 7:38", "condition"),
            ("S0106 8:12", "counts: invites"),
            ("S0107 9:11", "letters"),
            ("S0116 9:25", "at least 1"),
            ("S0115 9:42", "proportional"),
        ],
    );
}

#[test]
fn later_sections_say_what_to_do_instead() {
    wrong_after(
        HEAD,
        "contracts: {}\nidentity: {}\npersonas: {}\ntyping_tool: {}\npersonalise: {}\ninclude: a.yaml\n",
        &[
            ("S0103 4:1", "`columns` and `checks`"),
            ("S0190 5:1", "roster"),
            ("S0190 6:1", "profiles"),
            ("S0190 7:1", "outside"),
            ("S0190 8:1", "segments"),
            ("S0190 9:1", "one file"),
        ],
    );
    wrong_after(
        HEAD,
        "entities: {p: {from: c, key: id}}\nattributes: {p: [{preset: x@1, from: o}, {row: {a: b}, from: o, columns: {}}], use: []}\n",
        &[("S0121 5:27", "loyalty_core@1"), ("S0120 5:42", "`- row:`"), ("S0103 5:80", "entity")],
    );
}

#[test]
fn places_count_characters_after_wide_ones() {
    wrong(
        "# größer 東京 🦀\nversion: 1\nname: t # ✂\nsources: {'a': {parquet: \"ü東🦀\", tiem: x}}\n",
        &[("S0103 4:33", "time")],
    );
    let (_, found) = diagnostics("# 🦀\nversion: 1\nname: t\nsources: {a: {parquet: \"🦀\", tiem: x}}\n", &[]);
    let text = "# 🦀\nversion: 1\nname: t\nsources: {a: {parquet: \"🦀\", tiem: x}}\n";
    assert_eq!(&text[found[0].span.range()], "tiem");
    let marked = "\u{feff}version: 1\nname: t\nsources: {a: {parquet: x, tiem: x}}\n";
    let (_, found) = diagnostics(marked, &[]);
    assert_eq!(&marked[found[0].span.range()], "tiem");
}
