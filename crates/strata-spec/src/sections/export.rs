//! What an output says of the people in it: `pseudonym:`, `anonymity:`, `formulas:`. Never resolves a key.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::outputs as language;
use crate::pipeline::{Anonymity, Export, LadderStep, Pseudonym, PseudonymOf, WeightsShown};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::panel::share;
use crate::text::{Located, Name};
use crate::tree::{Node, Value};

/// What an output and `defaults` can both say.
#[derive(Default)]
pub(crate) struct Said {
    keeps_formulas: Option<bool>,
    pseudonym: Option<Pseudonym>,
    anonymity: Option<Anonymity>,
    /// `min_cell:`, at its key.
    pub(crate) min_cell: Option<Located<u64>>,
}

/// Reads them.
pub(crate) fn said(f: &mut Fields) -> Said {
    let at = f.key_span("min_cell");
    Said {
        keeps_formulas: f.word("formulas", &[("escape", false), ("keep", true)]),
        pseudonym: f.take("pseudonym").and_then(|n| pseudonym(n, f.p)),
        anonymity: f.take("anonymity").and_then(|n| anonymity(n, f.p)),
        min_cell: f.whole("min_cell", 1..=u64::MAX).map(|n| Located::new(n, at)),
    }
}

/// What the output of that name says itself, or else the defaults. `min_cell` is for whoever knows its rows.
pub(crate) fn export(own: Said, defaults: &Said, output: &Name) -> Export {
    let mut pseudonym = own.pseudonym.or_else(|| defaults.pseudonym.clone());
    if let Some(Pseudonym { of: PseudonymOf::Once(name), .. }) = &mut pseudonym
        && name.is_empty()
    {
        name.clone_from(&output.value);
    }
    Export {
        keeps_formulas: own.keeps_formulas.or(defaults.keeps_formulas).unwrap_or(false),
        pseudonym,
        anonymity: own.anonymity.or_else(|| defaults.anonymity.clone()),
        min_cell: None,
    }
}

fn pseudonym(node: &Node, problems: &mut Problems) -> Option<Pseudonym> {
    let mut f = Fields::item(node, &language::PSEUDONYM, problems)?;
    let written = f.need_name("key", "write `key: env:NAME`, the name of an environment variable");
    let named = written.value.strip_prefix("env:").map(str::trim).filter(|n| read::is_identifier(n)).map(str::to_owned);
    if named.is_none() && !written.value.is_empty() {
        let help = "write `key: env:NAME`; the key itself is never written in the file";
        read::bad_value(codes::BAD_VALUE, written.span, "`key` must name an environment variable".to_owned(), help, f.p);
    }
    let key = Located::new(named.unwrap_or_default(), written.span);
    let column = f.name("as").unwrap_or_else(|| Located::new("panelist_id".to_owned(), node.span));
    if !column.value.is_empty() {
        read::identified(&column, "`as`", f.p);
    }
    let (export, shared, key_id) = (f.name("export"), f.name("shared"), f.name("key_id"));
    if let Some(id) = key_id.as_ref().filter(|id| !id.value.chars().all(|c| c.is_ascii_alphanumeric())) {
        let message = format!("`key_id: {}` cannot stand before a pseudonym", shown(&id.value));
        read::bad_value(codes::BAD_VALUE, id.span, message, "write letters and digits, such as `2026a`", f.p);
    }
    if f.has("export") && f.has("shared") {
        let message = "`pseudonym` has both `export` and `shared`";
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.key_span("shared"), message).help("keep one of them"));
    }
    f.finish();
    let of = match shared {
        Some(shared) => PseudonymOf::Shared(shared.value),
        None => PseudonymOf::Once(export.map(|e| e.value).unwrap_or_default()),
    };
    Some(Pseudonym { key, column, of, key_id })
}

fn anonymity(node: &Node, problems: &mut Problems) -> Option<Anonymity> {
    let mut f = Fields::item(node, &language::ANONYMITY, problems)?;
    let k = f.whole("k", 2..=1_000_000).unwrap_or(10);
    let over = f.need("over", "write `over: [age_band, region]`: columns by which others could know a person");
    let over = over.map(|n| read::names(n, "`over`", f.p)).unwrap_or_default();
    let ladders = f.take("generalise").map(|n| ladders(n, &over, f.p)).unwrap_or_default();
    let all = if ladders.is_empty() { 1_000_000 } else { 0 };
    let leave_out_ppm = f.take("leave_out").and_then(|n| share(n, "`leave_out`", f.p)).unwrap_or(all);
    let is_rounded = f.word("weights", &[("cell_mean", false), ("rounded", true)]).unwrap_or(false);
    let to = f.real("round_to", 0.0).filter(|to| *to > 0.0);
    if is_rounded != f.has("round_to") || is_rounded && to.is_none() {
        let message = "`weights: rounded` and `round_to` go together";
        let help = "write `weights: rounded` and `round_to: 0.5`, more than 0";
        f.p.add(Diagnostic::error(codes::MISSING_KEY, node.span, message).help(help));
    }
    f.finish();
    let weights = to.filter(|_| is_rounded).map_or(WeightsShown::CellMean, WeightsShown::Rounded);
    Some(Anonymity { k, over, ladders, leave_out_ppm, weights })
}

fn ladders(node: &Node, over: &[Name], problems: &mut Problems) -> Vec<(Name, Vec<LadderStep>)> {
    let entries = read::entries(node, "`generalise`", problems);
    let mut out = Vec::new();
    for entry in entries {
        let what = format!("the steps of `{}`", shown(&entry.key.value));
        if !over.iter().any(|o| o.value == entry.key.value) {
            let names: Vec<&str> = over.iter().map(Name::as_str).collect();
            let help = problems.known_help(&entry.key.value, "columns of `over`", &names);
            let message = format!("`{}` is not in `over`", shown(&entry.key.value));
            problems.add(Diagnostic::error(codes::UNKNOWN_ATTRIBUTE, entry.key.span, message).help(help));
        }
        let Value::List(items) = &entry.value.value else {
            read::wrong_kind(&entry.value, &what, "a list of steps", problems);
            continue;
        };
        let steps = items.iter().filter_map(|step| ladder_step(step, &what, problems)).collect();
        out.push((entry.key.clone(), steps));
    }
    out
}

fn ladder_step(node: &Node, what: &str, problems: &mut Problems) -> Option<LadderStep> {
    let Value::Map(_) = &node.value else {
        return read::word(node, what, &[("all", LadderStep::All)], problems);
    };
    let mut labels: Vec<(String, Vec<String>)> = Vec::new();
    for entry in read::entries(node, what, problems) {
        let values = read::names(&entry.value, what, problems);
        for value in &values {
            if labels.iter().any(|(_, taken)| taken.contains(&value.value)) {
                let message = format!("`{}` belongs to two labels of one step", shown(&value.value));
                problems.add(Diagnostic::error(codes::DUPLICATE_NAME, value.span, message).help("keep one of them"));
            }
        }
        labels.push((entry.key.value.clone(), values.into_iter().map(|v| v.value).collect()));
    }
    Some(LadderStep::Labels(labels))
}
