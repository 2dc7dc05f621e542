//! `method: kmeans`. Never clusters anything.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::segments as language;
use crate::pipeline::{EmptyCluster, Init, KMeans, KMeansPlanned, Scale};
use crate::problems::Problems;
use crate::read;
use crate::sections::segment::count_mismatch;
use crate::sections::source::named_sql;
use crate::text::{Name, Sql};
use crate::tree::{Node, Value};

const K_MAX: u64 = 10_000;
const INIT: &str =
    "write `init: {first_by: expression}`: the first k rows by it, ties by key; or `init: {centroids: [[0.1, 0.2], …]}`";

/// The keys of `kmeans`.
pub(crate) fn kmeans(f: &mut Fields) -> Option<KMeans> {
    f.entry("method");
    let mut planned = KMeansPlanned::default();
    let k = k(f, &mut planned);
    let features = f.need("features", "write `features: {recency: ln(1 + recency_days)}`, or a list of attributes");
    let features = features.map(|n| features_of(n, f.p)).unwrap_or_default();
    let scales = [("standard", (Scale::Standard, false)), ("none", (Scale::None, false)), ("robust", (Scale::Standard, true))];
    let (scale, robust) = f.word("scale", &scales).unwrap_or((Scale::Standard, false));
    planned.robust = robust;
    let init = init(f, k, features.len(), &mut planned);
    let iterations = f.small("iterations", 1).unwrap_or(50);
    let tolerance = f.real("tolerance", 0.0).unwrap_or(1e-6);
    let empties = [("farthest", EmptyCluster::Farthest), ("stays", EmptyCluster::Stays)];
    let empty = f.word("empty", &empties).unwrap_or(EmptyCluster::Farthest);
    planned.median_for_nulls = f.word("nulls", &[("error", false), ("median", true)]).unwrap_or(false);
    planned.leave_out_p99_5 = f.word("outliers", &[("none", false), ("p99_5", true)]).unwrap_or(false);
    let refits = ["always", "monthly", "quarterly", "yearly"].map(|w| (w, w));
    planned.refit = f.word("refit", &refits).map(str::to_owned);
    planned.min_stability = f.real("min_stability", 0.0);
    let names = f.take("names").map(|n| names(n, k, f)).unwrap_or_default();
    let others = f.name_or_null("others");
    Some(KMeans { k: k?, features, scale, init: init?, iterations, tolerance, empty, names, planned, others })
}

fn k(f: &mut Fields, planned: &mut KMeansPlanned) -> Option<u32> {
    let node = f.need("k", "write `k: 8`, the number of clusters")?;
    if let Some(text) = node.text().map(|t| t.text.as_str()).filter(|t| t.contains("..")) {
        let what = format!("choosing `k` from `{}`", crate::problems::shown(text));
        if f.p.not_yet(node.span, &what, "write one number, such as `k: 6`") {
            return None;
        }
        let range = text.split_once("..").and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
        planned.k_from = range.filter(|(from, to): &(u32, u32)| 1 < *from && from < to && u64::from(*to) <= K_MAX);
        if planned.k_from.is_none() {
            let message = format!("`k` cannot be `{}`", crate::problems::shown(text));
            read::bad_value(codes::BAD_NUMBER, node.span, message, "write a range such as `4..9`", f.p);
        }
        return planned.k_from.map(|(from, _)| from);
    }
    read::whole(node, "`k`", &(1..=K_MAX), f.p).and_then(|n| u32::try_from(n).ok())
}

fn features_of(node: &Node, problems: &mut Problems) -> Vec<(Name, Sql)> {
    if matches!(node.value, Value::Map(_)) {
        return named_sql(node, "`features`", problems);
    }
    let names = read::names(node, "`features`", problems);
    for name in &names {
        read::identified(name, "`features`", problems);
    }
    names.into_iter().map(|name| (name.clone(), read::name_as_sql(&name))).collect()
}

fn init(f: &mut Fields, k: Option<u32>, dimensions: usize, planned: &mut KMeansPlanned) -> Option<Init> {
    let named = f.has("init") && f.key_value_is("init", "kmeans_parallel");
    if named || !f.has("init") {
        f.entry("init");
        let what = if named { "`init: kmeans_parallel`" } else { "kmeans without `init`, which means `kmeans_parallel`," };
        planned.parallel_init = true;
        return if f.p.not_yet(f.key_span("init"), what, INIT) { None } else { Some(Init::Centroids(Vec::new())) };
    }
    let node = f.take("init")?;
    let mut inner = Fields::item(node, &language::INIT, f.p)?;
    let first_by = inner.sql("first_by");
    let centroids = inner.take("centroids").and_then(|n| centroids(n, k, dimensions, inner.p));
    if inner.has("first_by") == inner.has("centroids") {
        inner.p.add(Diagnostic::error(codes::CHOOSE_ONE, node.span, "`init` needs one of `first_by` and `centroids`").help(INIT));
    }
    inner.finish();
    first_by.map(Init::FirstBy).or(centroids.map(Init::Centroids))
}

/// k rows of one number a feature.
fn centroids(node: &Node, k: Option<u32>, dimensions: usize, problems: &mut Problems) -> Option<Vec<Vec<f64>>> {
    let rows = read::items(node, "`centroids`", "a list of lists of numbers", problems);
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let numbers = read::items(row, "a centroid", "a list of numbers, one a feature", problems);
        let values: Vec<f64> =
            numbers.iter().filter_map(|n| read::real(n, "a number of a centroid", f64::MIN, problems)).collect();
        if numbers.len() != dimensions && dimensions > 0 && !numbers.is_empty() {
            let message = format!("this centroid has {} numbers, `features` has {dimensions}", numbers.len());
            problems
                .add(Diagnostic::error(codes::WRONG_COUNT, row.span, message).help("write one number a feature, in their order"));
        }
        all.push(values);
    }
    if let Some(k) = k.filter(|k| usize::try_from(*k).is_ok_and(|k| k != rows.len()) && !rows.is_empty()) {
        let message = format!("`centroids` has {} rows, `k` says {k}", rows.len());
        problems.add(Diagnostic::error(codes::WRONG_COUNT, node.span, message).help(format!("write {k} of them")));
    }
    Some(all)
}

/// `number`, a list, or `{0: a, 1: b}`.
fn names(node: &Node, k: Option<u32>, f: &mut Fields) -> Vec<Name> {
    if node.text().is_some_and(|t| t.text == "number") {
        return Vec::new();
    }
    let names = match &node.value {
        Value::Map(_) => numbered(node, k, f.p),
        Value::List(_) => read::names(node, "`names`", f.p),
        _ => {
            read::wrong_kind(node, "`names`", "`number`, a list of names, or `{0: a, 1: b}`", f.p);
            return Vec::new();
        }
    };
    let written = if let Value::List(items) = &node.value { items.len() } else { node.entries().len() };
    if let Some(k) = k.filter(|k| usize::try_from(*k).is_ok_and(|k| k != written) && written > 0) {
        count_mismatch(f, "names", written, k, "`k`");
    }
    names
}

fn numbered(node: &Node, k: Option<u32>, problems: &mut Problems) -> Vec<Name> {
    let mut all: Vec<(u64, Name)> = Vec::new();
    for entry in read::entries(node, "`names`", problems) {
        let key = Node { span: entry.key.span, value: Value::Text(crate::tree::Text::plain(&entry.key)) };
        let last = u64::from(k.unwrap_or(u32::MAX)).saturating_sub(1);
        let number = read::whole(&key, "the number of a cluster", &(0..=last), problems);
        let name = read::name(&entry.value, "the name of a cluster", problems);
        all.extend(number.zip(name));
    }
    all.sort_by_key(|(number, _)| *number);
    let names: Vec<Name> = all.into_iter().map(|(_, name)| name).collect();
    read::once_each(&names, "`names`", problems);
    names
}
