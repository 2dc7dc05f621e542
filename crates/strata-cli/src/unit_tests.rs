//! `strata test`: the tests that a pipeline holds. Never reads a source's files beyond their columns.

use crate::args::{Given, Output};
use crate::{render, verbs};
use serde_json::{Value, json};
use strata_engine::unit_test::{self, Mismatch};
use strata_engine::{Error, InProcessRunner, Loaded};
use strata_runtime::Limits;
use strata_runtime::clock::Stopwatch;
use strata_spec::pipeline::test::UnitTest;

/// A test failed.
const FAILED: u8 = 1;

/// Runs every test whose name holds `only`.
pub(crate) async fn run(given: &Given, only: Option<&str>, output: Output) -> u8 {
    let loaded = match verbs::load(given, true).await {
        Ok(loaded) => loaded,
        Err(e) => return verbs::failed(&e),
    };
    let (outcome, found) = verbs::compiled(&loaded);
    let wrong = strata_engine::load::verdict(&found).is_err();
    let Some(pipeline) = loaded.pipeline.as_ref().filter(|_| !wrong) else { return verbs::say(&loaded, &found, output) };
    if outcome.is_none() {
        // Each test says which columns are not known.
        render::diagnostics(&loaded.source, &found);
    }
    let runner = match InProcessRunner::new(&Limits { threads: 1, ..Limits::default() }) {
        Ok(runner) => runner,
        Err(e) => return verbs::failed(&Error::of_step("start", e)),
    };
    let names: Vec<String> = pipeline.tests.iter().enumerate().map(|(i, t)| name(t, i)).collect();
    let chosen: Vec<(&UnitTest, &String)> =
        pipeline.tests.iter().zip(&names).filter(|(_, n)| only.is_none_or(|o| n.contains(o))).collect();
    if chosen.is_empty() {
        let help = match only {
            Some(_) => format!("there are: {}", names.join(", ")),
            None => "write `tests: [{given: {orders: [{…}]}, expect: {attribute: value}}]`".to_owned(),
        };
        render::line(&format!("error: {} has no such test\n  help: {help}", loaded.source.path));
        return 2;
    }
    let (mut failed, mut answers) = (0, vec![]);
    for (test, name) in &chosen {
        let watch = Stopwatch::start();
        let result = one(&loaded, test, &runner).await;
        let ms = watch.elapsed().as_secs_f64() * 1000.0;
        failed += usize::from(!matches!(&result, Ok(found) if found.is_empty()));
        match output {
            Output::Json => answers.push(answer(&loaded, test, name, &result, ms)),
            Output::Text => say(&loaded, test, name, &result, ms),
        }
    }
    let (all, passed) = (chosen.len(), chosen.len() - failed);
    match output {
        Output::Json => render::data(&json!({"passed": passed, "failed": failed, "tests": answers}).to_string()),
        Output::Text => render::data(&format!("{passed} of {all} test{} passed", render::plural(all))),
    }
    if failed > 0 { FAILED } else { 0 }
}

async fn one(loaded: &Loaded, test: &UnitTest, runner: &InProcessRunner) -> Result<Vec<Mismatch>, Error> {
    let work = verbs::scratch()?;
    unit_test::run(loaded, test, runner, work.path()).await
}

fn name(test: &UnitTest, index: usize) -> String {
    test.name.as_ref().map_or_else(|| format!("test {}", index + 1), |n| n.value.clone())
}

fn say(loaded: &Loaded, test: &UnitTest, name: &str, result: &Result<Vec<Mismatch>, Error>, ms: f64) {
    let place = |span| loaded.source.place(span);
    match result {
        Ok(found) if found.is_empty() => render::data(&format!("ok      {name} ({ms:.0} ms)")),
        Ok(found) => {
            render::data(&format!("FAILED  {name} ({ms:.0} ms)"));
            for m in found {
                render::data(&format!("  {}: {}: expected {}, got {}", place(m.span), m.what, m.expected, m.got));
            }
        }
        Err(e) => render::data(&format!("FAILED  {name} ({ms:.0} ms)\n  {}: {e}", place(test.span))),
    }
}

fn answer(loaded: &Loaded, test: &UnitTest, name: &str, result: &Result<Vec<Mismatch>, Error>, ms: f64) -> Value {
    let failures = result.as_ref().map_or_else(|_| vec![], |found| found.clone());
    let failures = failures.iter().map(|m| {
        let (line, column) = loaded.source.line_column(m.span.start);
        json!({"what": m.what, "expected": m.expected, "got": m.got, "line": line, "column": column})
    });
    json!({
        "name": name, "place": loaded.source.place(test.span), "ms": ms,
        "passed": matches!(result, Ok(found) if found.is_empty()),
        "error": result.as_ref().err().map(ToString::to_string), "failures": failures.collect::<Vec<_>>(),
    })
}
