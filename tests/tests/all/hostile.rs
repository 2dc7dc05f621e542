//! Hostile pipelines against the real binary: SQL that wants out, text that grows, paths that climb.
//! Never lets a crash or a hang pass for an answer.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use strata_testkit::binary;

/// What checking a hostile text may take. The specification says 1 s on a quiet machine.
pub(crate) const CHECK_MAX: Duration = Duration::from_secs(5);
/// What a run over a damaged file of 60 rows may take before it counts as hanging, on a machine that is busy with other tests.
pub(crate) const RUN_MAX: Duration = Duration::from_secs(60);
/// Peak resident memory, kB.
pub(crate) const RESIDENT_MAX_KB: u64 = 512 * 1024;

const PEOPLE: &str = "id,n,name\n1,2,a\n";
const ORDERS: &str = "oid,id,amount,ts\n1,1,5,2026-01-01T00:00:00Z\n";

/// Texts that no expression may be, each with a diagnostic it gets.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("(select max(name) from people)", "S0315"),
    ("(select count(*) from read_parquet('/etc/passwd'))", "S0315"),
    ("(select 1 from '/etc/passwd')", "S0315"),
    ("(select 1 from \"https://example.com/x.csv\")", "S0315"),
    ("(select 1 from information_schema.tables)", "S0315"),
    ("exists (select 1 from people)", "S0315"),
    ("id in (select id from people)", "S0315"),
    ("n = any(select 1)", "S0315"),
    ("case when true then (select 1) end", "S0315"),
    ("1; copy people to '/tmp/x.csv'", "S0301"),
    ("1; drop table people", "S0301"),
    ("\"n\"; --", "S0301"),
    ("1 union select 2", "S0301"),
    ("1 /* never closed", "S0301"),
    ("@@version", "S0301"),
    ("$1", "S0315"),
    ("?", "S0315"),
    (":x", "S0315"),
    ("${secret}", "S0113"),
    ("${run.token}", "S0113"),
    ("read_parquet('x')", "S0303"),
    ("arrow_typeof(n)", "S0303"),
    ("arrow_cast(n, 'Utf8')", "S0303"),
    ("version()", "S0303"),
    ("getenv('HOME')", "S0303"),
    ("current_setting('x')", "S0303"),
    ("pg_read_file('/etc/passwd')", "S0303"),
    ("pg_catalog.now()", "S0303"),
    ("generate_series(1, 1000000000)", "S0303"),
    ("unnest(range(1, 1000000000))", "S0303"),
    ("array_agg(n)", "S0303"),
    ("now()", "S0303"),
    ("NOW()", "S0303"),
    ("\"now\"()", "S0303"),
    ("n\u{43e}w()", "S0303"),
    ("\u{ff4e}ow()", "S0303"),
    ("current_date", "S0303"),
    ("current_timestamp(3)", "S0303"),
    ("localtimestamp", "S0303"),
    ("extract(epoch from now())", "S0303"),
    ("random()", "S0303"),
    ("uuid()", "S0303"),
    ("sum(n) over (order by random())", "S0303"),
    ("count(*) filter (where random() > 0.5)", "S0303"),
    ("current_user", "S0302"),
    ("a\u{200b}b", "S0301"),
    ("n::regclass", "S0308"),
    ("repeat('x', 1000000000)", "S0314"),
    ("lpad(name, 2000000000)", "S0314"),
    ("rpad(name, n, 'y')", "S0314"),
    ("repeat(repeat('x', 10000), n)", "S0314"),
];

/// Texts that no table may be.
const QUERIES: &[(&str, &str)] = &[
    ("copy people to '/tmp/x.csv'", "S0315"),
    ("copy (select 1) to '/tmp/x.csv'", "S0315"),
    ("create external table t stored as parquet location '/etc'", "S0315"),
    ("create table t as select 1", "S0315"),
    ("insert into people values (1)", "S0315"),
    ("delete from people", "S0315"),
    ("drop table people", "S0315"),
    ("set datafusion.execution.batch_size = 1", "S0315"),
    ("show tables", "S0315"),
    ("explain analyze select * from people", "S0315"),
    ("prepare p as select 1", "S0315"),
    ("attach 'x.db'", "S0315"),
    ("install httpfs", "S0315"),
    ("call f()", "S0315"),
    ("select id, n from people; drop table people", "S0315"),
    ("select id, n from people; select 1", "S0315"),
    ("select id, n into t from people", "S0315"),
    ("select id, n from people into outfile '/tmp/x'", "S0301"),
    ("select id, n from '/etc/passwd'", "S0302"),
    ("select id, n from \"file:///etc/passwd\"", "S0302"),
    ("select id, n from `people.csv`", "S0302"),
    ("select id, n from read_parquet('x')", "S0315"),
    ("select id, n from table(people)", "S0315"),
    ("select id, n from unnest([1, 2])", "S0315"),
    ("select id, n from generate_series(1, 1000000000) as t(id)", "S0315"),
    ("select id, n from information_schema.tables", "S0302"),
    ("select id, n from pg_catalog.pg_tables", "S0302"),
    ("select id, n from datafusion.public.people", "S0302"),
    ("select id, n from public.people", "S0302"),
    ("with recursive r as (select 1 as id union all select id + 1 from r) select id, id as n from r", "S0315"),
    (
        "with a as (with recursive r as (select 1 as id union all select id from r) select * from r) select id, 1 as n from a",
        "S0315",
    ),
    (
        "select id, n from people where exists (with recursive r as (select 1 as x union all select x from r) select 1 from r)",
        "S0315",
    ),
    ("select id, random() as n from people", "S0303"),
    ("select id, n from people order by now()", "S0303"),
    ("select id, n from people where n = $1", "S0315"),
    ("select distinct on (id) id, n from people", "S0315"),
    ("select id, n from people tablesample (10)", "S0315"),
    ("select id, n from (select * from people) as p tablesample bernoulli (50)", "S0315"),
    ("select top 1 id, n from people", "S0315"),
    ("select id, n from people for update", "S0315"),
    ("select id, n from people limit 1", "S0307"),
    ("select id, n from people offset 1", "S0307"),
    ("select id, row_number() over () as n from people", "S0307"),
    ("select id, first_value(n) over (partition by id) as n from people", "S0307"),
    ("select id, lag(n) over w as n from people window w as (partition by id)", "S0307"),
    ("select columns('.*') from people", "S0303"),
    ("select id, n from people pivot (sum(n) for id in (1, 2))", "S0315"),
];

/// The pipeline with a text in one of its slots.
fn pipeline(slot: &str, text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    let put = |name: &str, usual: &str| if slot == name { quoted.clone() } else { serde_json::to_string(usual).unwrap() };
    format!(
        r#"version: 1
name: hostile
as_of: 2026-02-01T00:00:00Z
timezone: UTC
vars: {{data: ., out: ./out}}
sources:
  people:
    csv: "${{vars.data}}/people.csv"
    mode: mutable
    key: id
    columns: {{id: int!, n: int, name: string}}
    derive: {{m: {derive}}}
  orders:
    csv: "${{vars.data}}/orders.csv"
    mode: append
    time: ts
    key: oid
    where: {source}
    columns: {{oid: int!, id: int!, amount: int!, ts: timestamp!}}
tables:
  per:
    key: id
    sql: {table}
entities:
  person: {{from: people, key: id}}
attributes:
  person:
    - from: per
      columns: {{x: {aggregate}}}
    - from: orders
      where: {block}
      columns: {{spend: total(amount)}}
    - row: {{y: {row}}}
segments:
  tier:
    rules: {{high: {rule}}}
    others: low
outputs:
  people: {{to: {to}, format: csv, select: person.attributes, where: {output}}}
"#,
        derive = put("derive", "n + 1"),
        source = put("source", "amount > 0"),
        table = put("table", "select id, sum(amount) as n from orders group by id"),
        aggregate = put("aggregate", "total(n)"),
        block = put("block", "amount > 1"),
        row = put("row", "people.n"),
        rule = put("rule", "spend > 1"),
        to = put("to", "${vars.out}/{name}"),
        output = put("output", "spend >= 0"),
    )
}

const SLOTS: &[&str] = &["derive", "source", "aggregate", "block", "row", "rule", "output"];

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    pub(crate) took: Duration,
    pub(crate) resident_kb: u64,
}

/// The binary in a folder, with the most memory it had; ended by force after a while, which leaves no code.
pub(crate) fn measured(dir: &Path, arguments: &[&str], at_most: Duration) -> Ended {
    let (out, err) = (dir.join("said.out"), dir.join("said.err"));
    let file = |p: &Path| std::fs::File::create(p).unwrap();
    let began = Instant::now();
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
    let mut child = command.spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut resident_kb = 0;
    let code = loop {
        if let Some(done) = child.try_wait().unwrap() {
            break done.code();
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        resident_kb = resident_kb.max(peak.unwrap_or(0));
        if began.elapsed() > at_most || resident_kb > 4 * RESIDENT_MAX_KB {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let said = [out, err].map(|p| String::from_utf8_lossy(&std::fs::read(p).unwrap()).into_owned()).concat();
    Ended { code, said, took: began.elapsed(), resident_kb }
}

/// `strata check` of a pipeline beside its two small files. Nothing else may be in the folder afterwards.
fn checked(text: &str) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("pipeline.yaml", text), ("people.csv", PEOPLE), ("orders.csv", ORDERS)] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let done = measured(dir.path(), &["check", "pipeline.yaml"], 2 * CHECK_MAX);
    let mut left: Vec<String> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    left.sort();
    assert_eq!(left, ["orders.csv", "people.csv", "pipeline.yaml", "said.err", "said.out"]);
    done
}

/// It ended by itself, in time and in bounds, with a verdict: 0, or 2 and a diagnostic.
fn assert_verdict(what: &str, done: &Ended) {
    let head: String = done.said.chars().take(400).collect();
    assert!(matches!(done.code, Some(0 | 2)), "{what}: ended with {:?} after {:?}: {head}", done.code, done.took);
    assert!(done.took < CHECK_MAX, "{what}: took {:?}", done.took);
    assert!(done.resident_kb < RESIDENT_MAX_KB, "{what}: {} kB", done.resident_kb);
    assert!(done.code == Some(0) || done.said.contains("error[S"), "{what}: {head}");
}

#[test]
fn sql_that_wants_out_is_refused_in_every_slot() {
    let fine = checked(&pipeline("", ""));
    assert_eq!(fine.code, Some(0), "{}", fine.said);
    for (text, code) in EXPRESSIONS {
        for slot in SLOTS {
            let done = checked(&pipeline(slot, text));
            assert_eq!(done.code, Some(2), "{slot}: {text}: {}", done.said);
            assert!(!done.said.contains("root:"), "{text} read a file: {}", done.said);
            if *slot == "row" {
                assert!(done.said.contains(&format!("error[{code}]")), "{text}: not {code}: {}", done.said);
            }
        }
    }
    for (text, code) in QUERIES {
        let done = checked(&pipeline("table", text));
        assert_eq!(done.code, Some(2), "{text}: {}", done.said);
        assert!(done.said.contains(&format!("error[{code}]")), "{text}: not {code}: {}", done.said);
    }
}

/// `left` `n` times, then `middle`, then `right` `n` times.
fn nested(n: usize, left: &str, middle: &str, right: &str) -> String {
    [left.repeat(n), middle.to_owned(), right.repeat(n)].concat()
}

#[test]
fn long_chains_and_deep_nests_get_a_verdict() {
    let chain = |n: usize, term: &str, with: &str| vec![term; n].join(with);
    let mut rows = vec![("in 100,000".to_owned(), format!("people.n in ({})", chain(100_000, "1", ",")))];
    rows.push(("in 10,000".to_owned(), format!("people.n in ({})", chain(10_000, "1", ","))));
    rows.push(("coalesce of 6,000".to_owned(), format!("coalesce({})", chain(6_000, "people.n", ","))));
    rows.push(("case of 2,000".to_owned(), format!("case {} end", "when people.n < 1 then 1 ".repeat(2_000))));
    for with in
        ["+", "-", "*", "/", "//", "%", "^", "&", "|", "<<", "||", "<>", "->", " or ", " and ", " like ", " is distinct from "]
    {
        for n in [490, 2_000, 30_000] {
            rows.push((format!("{n} {with}"), chain(n, "1", with)));
        }
    }
    for behind in [" is null", "::int", "[1]", " collate x", " at time zone 'UTC'", ".a"] {
        rows.push((format!("5,000{behind}"), nested(0, "", "1", "") + &behind.repeat(5_000)));
    }
    for (left, middle, right) in [
        ("(", "1", ")"),
        ("abs(", "1", ")"),
        ("cast(", "1", " as int)"),
        ("case when true then ", "1", " end"),
        ("not ", "true", ""),
        ("- ", "1", ""),
        ("~ ", "1", ""),
        ("[", "1", "]"),
        ("{'a': ", "1", "}"),
        ("interval ", "'1 day'", ""),
        ("x -> ", "1", ""),
        ("(select ", "1", ")"),
    ] {
        for n in [30, 40, 60, 490, 5_000] {
            rows.push((format!("{n} times {left}"), nested(n, left, middle, right)));
        }
    }
    for (what, text) in &rows {
        assert_verdict(what, &checked(&pipeline("row", text)));
    }
    let joins: String = (1..400).map(|i| format!(" join people as p{i} on p{i}.id = p0.id")).collect();
    let commas: String = (1..3_000).map(|i| format!(", people as p{i}")).collect();
    let doubled = |i: usize| {
        let from = if i == 0 { "people".to_owned() } else { format!("c{}", i - 1) };
        format!("c{i} as (select a.id, a.n from {from} as a join {from} as b on a.id = b.id)")
    };
    let doubling = (0..22).map(doubled).collect::<Vec<_>>().join(", ");
    for (what, text) in [
        ("joins", format!("select p0.id, p0.n from people as p0{joins}")),
        ("commas", format!("select p0.id, p0.n from people as p0{commas}")),
        ("doubling", format!("with {doubling} select id, n from c21")),
        ("unions", vec!["select id, n from people"; 600].join(" union all ")),
        ("subqueries", nested(400, "select * from (", "select id, n from people", ") as x")),
    ] {
        let done = checked(&pipeline("table", &text));
        assert_verdict(what, &done);
        assert!(done.said.contains("error[S0314]"), "{what}: {}", done.said.chars().take(400).collect::<String>());
    }
}

#[test]
fn yaml_bombs_are_refused() {
    let aliases: String = (1..10).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","))).collect();
    let vars: String = (1..40).map(|i| format!("  v{i}: \"${{vars.v{}}}${{vars.v{}}}\"\n", i - 1, i - 1)).collect();
    let bombs = [
        ("aliases", format!("a0: &a0 [x, x]\n{aliases}")),
        ("variables", format!("version: 1\nname: \"${{vars.v39}}\"\nvars:\n  v0: aaaaaaaaaa\n{vars}")),
        ("lists", format!("version: 1\nx: {}", nested(100_000, "[", "", "]"))),
        ("mappings", format!("version: 1\nx: {}", nested(50_000, "{a: ", "1", "}"))),
        ("blocks", (0..1_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect()),
        ("sequences", format!("x: {}1", "- ".repeat(20_000))),
        ("keys in keys", "? ".repeat(20_000)),
        ("a scalar of 50 MB", format!("version: 1\nname: {}", "x".repeat(50_000_000))),
        ("lines of 50 MB", format!("version: 1\nname: |\n{}", format!("  {}\n", "x".repeat(1_000)).repeat(50_000))),
        ("keys", (0..60_000).map(|i| format!("k{i}: 1\n")).collect()),
        ("one key", format!("version: 1\n{}", "name: x\n".repeat(100_000))),
        ("anchors", (0..50_000).map(|i| format!("k{i}: &a{i} 1\n")).collect()),
        ("a tag", "version: !!python/object/apply:os.system [\"id\"]\n".to_owned()),
        ("documents", "---\nversion: 1\n".repeat(50_000)),
        ("nothing", String::new()),
        ("NUL", "version: 1\nname: a\0b\n".to_owned()),
        ("open quote", format!("name: \"{}", "a".repeat(200_000))),
        ("colons", ":".repeat(50_000)),
        ("tags", "!".repeat(50_000)),
    ];
    for (what, text) in bombs {
        let done = checked(&text);
        assert_verdict(what, &done);
        assert_eq!(done.code, Some(2), "{what}: {}", done.said.chars().take(400).collect::<String>());
    }
}

#[test]
fn a_table_lies_where_its_path_plainly_says() {
    for to in [
        "/",
        "file:///",
        "out/{name}/../../elsewhere",
        "out/%2e%2e/elsewhere",
        "%2E%2E/elsewhere",
        "out%2felsewhere",
        "out/a\0b",
        "out/a\nb",
        "_pointer",
        "out/{name}/_pointer/x",
        "out/{name}/runs",
        ".strata/x",
        "http://127.0.0.1:9/x",
        "memory:///x",
        "s3://",
    ] {
        let work = tempfile::tempdir().unwrap();
        let dir = work.path().join("work");
        std::fs::create_dir(&dir).unwrap();
        for (name, content) in [("pipeline.yaml", pipeline("to", to).as_str()), ("people.csv", PEOPLE), ("orders.csv", ORDERS)] {
            std::fs::write(dir.join(name), content).unwrap();
        }
        let done = measured(&dir, &["run", "pipeline.yaml"], RUN_MAX);
        assert!(matches!(done.code, Some(1 | 2)) && done.said.contains("error"), "{to:?}: {:?} {}", done.code, done.said);
        assert!(found_below(work.path(), "part-").is_empty(), "{to:?} wrote a table");
    }
    for to in ["out/with space/{name}", "out/\u{fc}n\u{ef}", "out/*/[a]", "out/a:b", "file://out/{name}", "./out//x"] {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("pipeline.yaml", pipeline("to", to).as_str()), ("people.csv", PEOPLE), ("orders.csv", ORDERS)] {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let done = measured(dir.path(), &["run", "pipeline.yaml"], RUN_MAX);
        assert_eq!(done.code, Some(0), "{to:?}: {}", done.said);
        let folder = dir.path().join(to.trim_start_matches("file://").replace("{name}", "people"));
        assert_eq!(found_below(&folder, "part-").len(), 1, "{to:?}");
    }
}

#[test]
fn nothing_is_published_outside_of_the_root_of_outputs() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    for folder in ["lake/team", "elsewhere"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    for (to, link) in [("elsewhere", "lake/link"), ("nowhere", "lake/dangling"), ("lake/team", "lake/inner")] {
        std::os::unix::fs::symlink(at(to), at(link)).unwrap();
    }
    for (name, content) in [("people.csv", PEOPLE), ("orders.csv", ORDERS)] {
        std::fs::write(at(name), content).unwrap();
    }
    let run = |to: &str| {
        std::fs::write(at("pipeline.yaml"), pipeline("to", to)).unwrap();
        measured(work.path(), &["run", "pipeline.yaml", "--outputs-root", "lake"], RUN_MAX)
    };
    let absolute = |name: &str| at(name).display().to_string();
    for to in [
        "elsewhere/x".to_owned(),
        "../elsewhere/x".to_owned(),
        "lake/../elsewhere/x".to_owned(),
        "lake/team/../../elsewhere/x".to_owned(),
        "lake".to_owned(),
        "lake/".to_owned(),
        "lake-2/x".to_owned(),
        "lake/link/x".to_owned(),
        "lake/dangling/x".to_owned(),
        "lake/%2e%2e/elsewhere/x".to_owned(),
        "lake/%2E./elsewhere".to_owned(),
        absolute("elsewhere/x"),
        format!("file://{}", absolute("elsewhere/x")),
        format!("file://{}", absolute("lake/../elsewhere/x")),
        format!("{}/x", std::env::temp_dir().display()),
        "s3://lake/x".to_owned(),
    ] {
        let done = run(&to);
        let refused = done.code == Some(5) && done.said.contains("error[S0319]") && done.said.contains("write a place below");
        assert!(refused || done.code == Some(2), "{to:?}: {:?} {}", done.code, done.said);
        assert!(found_below(work.path(), "part-").is_empty(), "{to:?} wrote a table");
    }
    // Paths that the language refuses by themselves are not what this test is about.
    assert_eq!(run(&absolute("elsewhere/x")).code, Some(5));
    for to in ["lake/x".to_owned(), "lake/inner/y".to_owned(), absolute("lake/z"), format!("file://{}", absolute("lake/u"))] {
        let done = run(&to);
        assert_eq!(done.code, Some(0), "{to:?}: {}", done.said);
    }
    assert!(found_below(&at("elsewhere"), "part-").is_empty() && found_below(&at("lake"), "part-").len() >= 4);
}

#[test]
fn a_file_that_is_not_the_declared_one_shows_none_of_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let canary = "Quillon Vandermeer,quillon@example.com";
    for (name, content) in [("pipeline.yaml", pipeline("", "").as_str()), ("people.csv", canary), ("orders.csv", ORDERS)] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let done = measured(dir.path(), &["run", "pipeline.yaml"], RUN_MAX);
    assert_eq!(done.code, Some(2), "{}", done.said);
    assert!(done.said.contains("people.csv") && !done.said.contains("Quillon"), "{}", done.said);
}

/// Files below a folder whose name starts so.
pub(crate) fn found_below(folder: &Path, start: &str) -> Vec<PathBuf> {
    let (mut out, mut folders) = (vec![], vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false if entry.file_name().to_string_lossy().starts_with(start) => out.push(entry.path()),
                false => {}
            }
        }
    }
    out
}
