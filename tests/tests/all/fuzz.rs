//! Pipelines mutated by a seed and compiled in this process. Never lets a panic pass for an answer.

use crate::faults::{Draw, long};
use crate::hostile::CHECK_MAX;
use std::time::{Duration, Instant};

/// Pieces that a mutated pipeline gets.
const PIECES: &[&str] = &[
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ": ",
    ", ",
    "\"",
    "'",
    "#",
    "- ",
    "|",
    ">",
    "&a ",
    "*a",
    "!!x ",
    "%",
    "\t",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "\u{10ffff}",
    "${",
    "${vars.data}",
    "${run.as_of}",
    "as_of - 9999999999999d",
    "..",
    "a..b",
    " over ()",
    "/",
    "//",
    "case",
    " end",
    "not ",
    "interval ",
    "-1",
    "1e999",
    "99999999999999999999",
    "null",
    "~",
    "select ",
    " from ",
    " where ",
    "distinct ",
    "--",
    "/*",
    "*/",
    ";",
    "::",
    "$1",
    "total(",
    "first(",
    "mode()",
    "row_sum(",
    " order by ",
    "x'0'",
    "E'\\x'",
    "\r\n",
    "<<: ",
    "? ",
    "---\n",
    "...\n",
];

fn mutated(text: &str, draw: &mut Draw) -> String {
    let mut below = |n: usize| ((draw.next() * n as f64) as usize).min(n.saturating_sub(1));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + below(4) {
        let at = below(lines.len());
        let other = below(lines.len());
        match below(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 => lines[at] = lines[at].chars().rev().collect(),
            4 => lines[at] = format!("{}{}", " ".repeat(below(6)), lines[at].trim_start()),
            _ => {
                let chars: Vec<char> = lines[at].chars().collect();
                let (cut, skip) = (below(chars.len() + 1), below(3));
                let behind: String = chars.iter().skip(cut + skip).collect();
                lines[at] = format!("{}{}{behind}", chars[..cut].iter().collect::<String>(), PIECES[below(PIECES.len())]);
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\n")
}

/// Every shipped pipeline and every case, mutated and compiled in this process, for 10 s or 10 minutes. On a thread with the
/// stack that the binary's main thread has.
#[test]
fn mutated_pipelines_compile_or_say_why() {
    let root = strata_testkit::repository();
    let mut pipelines = strata_testkit::case_folders(&root.join("tests/cases"));
    pipelines.extend(strata_testkit::case_folders(&root.join("pipelines")));
    let texts: Vec<String> = pipelines.iter().map(|p| std::fs::read_to_string(p.join("pipeline.yaml")).unwrap()).collect();
    let lasts = Duration::from_secs(if long() { 600 } else { 10 });
    let fuzz = move || {
        let dir = tempfile::tempdir().unwrap();
        let (began, mut draw, mut checked) = (Instant::now(), Draw(20_260_201), 0);
        while began.elapsed() < lasts {
            let text = mutated(&texts[(draw.next() * texts.len() as f64) as usize % texts.len()], &mut draw);
            std::fs::write(dir.path().join("pipeline.yaml"), &text).unwrap();
            let at = Instant::now();
            let done = std::panic::catch_unwind(|| strata_testkit::diagnose(dir.path()));
            assert!(done.is_ok(), "this pipeline makes the compiler panic:\n{text}");
            assert!(at.elapsed() < CHECK_MAX, "checking took {:?}:\n{text}", at.elapsed());
            checked += 1;
        }
        assert!(checked >= 100, "only {checked} pipelines were checked");
    };
    std::thread::Builder::new().stack_size(8 << 20).spawn(fuzz).unwrap().join().unwrap();
}
