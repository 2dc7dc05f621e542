//! Which known word is meant by an unknown one. Never guesses where another word would do as well as not.

/// Words from other tools, and what they are called here. Only a word that is known at the place is suggested.
const MEANT: &[(&str, &[&str])] = &[
    ("alias", &["as", "name"]),
    ("bool", &["boolean"]),
    ("bucket", &["quantile"]),
    ("char", &["string"]),
    ("clusters", &["k"]),
    ("columns", &["select"]),
    ("computed", &["derive"]),
    ("condition", &["where"]),
    ("datetime", &["timestamp"]),
    ("dataset", &["from", "sources"]),
    ("datasets", &["sources"]),
    ("dedupe", &["duplicates"]),
    ("default", &["others", "defaults"]),
    ("deduplicate", &["duplicates"]),
    ("destination", &["to"]),
    ("dest", &["to"]),
    ("else", &["others"]),
    ("event_time", &["time"]),
    ("expr", &["sql"]),
    ("expression", &["sql"]),
    ("features", &["attributes"]),
    ("file", &["parquet", "csv", "to"]),
    ("filter", &["where"]),
    ("float", &["double"]),
    ("float64", &["double"]),
    ("group_by", &["by"]),
    ("groups", &["bins"]),
    ("having", &["where"]),
    ("id", &["key"]),
    ("ifnull", &["coalesce"]),
    ("inputs", &["sources"]),
    ("int32", &["int"]),
    ("int64", &["bigint"]),
    ("integer", &["int"]),
    ("isnull", &["coalesce"]),
    ("joins", &["references"]),
    ("join", &["references"]),
    ("label", &["name"]),
    ("len", &["length", "character_length"]),
    ("limit", &["max", "sample"]),
    ("long", &["bigint"]),
    ("location", &["parquet", "csv", "to"]),
    ("lookback", &["window"]),
    ("metrics", &["attributes", "describe", "stats"]),
    ("money", &["decimal(p,s)"]),
    ("n", &["sample", "k", "bins"]),
    ("number", &["double"]),
    ("numeric", &["decimal(p,s)"]),
    ("nvl", &["coalesce"]),
    ("on_error", &["on_fail"]),
    ("on_failure", &["on_fail"]),
    ("order_by", &["order"]),
    ("output", &["outputs"]),
    ("path", &["parquet", "csv", "to"]),
    ("period", &["window"]),
    ("pk", &["key"]),
    ("primary_key", &["key"]),
    ("query", &["sql"]),
    ("real", &["double"]),
    ("reference_date", &["as_of"]),
    ("schema", &["columns"]),
    ("segmentation", &["segments"]),
    ("segmentations", &["segments"]),
    ("sinks", &["outputs"]),
    ("size", &["sample", "bins"]),
    ("sort", &["order"]),
    ("source", &["from", "sources"]),
    ("str", &["string"]),
    ("stratify", &["strata"]),
    ("stratify_by", &["strata"]),
    ("substr", &["substring"]),
    ("table", &["from", "tables"]),
    ("target", &["to"]),
    ("text", &["string"]),
    ("tiles", &["bins"]),
    ("timestamptz", &["timestamp"]),
    ("timestamp", &["time"]),
    ("ts", &["time"]),
    ("tz", &["timezone"]),
    ("time_zone", &["timezone"]),
    ("unique_key", &["key"]),
    ("url", &["parquet", "csv", "to"]),
    ("varchar", &["string"]),
    ("variables", &["vars"]),
    ("views", &["tables"]),
    ("zone", &["timezone"]),
];

/// The nearest of `known` to `word`, if it is near enough to be meant: a slip of the hand, the same words in another order, a
/// part of it, or another tool's word for it.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.trim().to_lowercase();
    if word.is_empty() {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    slip(&word, &known).or_else(|| meant(&word, &known)).or_else(|| part(&word, &known))
}

/// Few letters swapped, missing, doubled or wrong, for its length.
fn slip<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().filter_map(|k| {
        let lower = k.to_lowercase();
        let distance = match words(word) == words(&lower) {
            true => usize::from(word != lower),
            false => strsim::osa_distance(word, &lower),
        };
        (distance <= allowed(word, &lower)).then_some((distance, first_differs(word, &lower), k.len().abs_diff(word.len()), *k))
    });
    near.min_by_key(|(distance, first, len, _)| (*distance, *first, *len)).map(|(_, _, _, k)| k)
}

/// How many letters may differ. Short words differ by one letter and mean something else: `age` is not `ago`'s slip, nor `r`
/// `f`'s.
fn allowed(a: &str, b: &str) -> usize {
    let (a_len, b_len) = (a.chars().count(), b.chars().count());
    match a_len.max(b_len) {
        _ if words(a) == words(b) => 1,
        0..=1 => 0,
        2 => usize::from(is_swapped(a, b)),
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    }
}

fn is_swapped(a: &str, b: &str) -> bool {
    a.chars().rev().eq(b.chars())
}

fn first_differs(a: &str, b: &str) -> bool {
    a.chars().next() != b.chars().next()
}

/// `home_region` and `region_home`, `orderCount` and `order_count` are of the same words; so are a plural and its singular.
fn words(word: &str) -> Vec<String> {
    let mut all: Vec<String> = word
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(|w| w.strip_suffix('s').filter(|s| s.len() > 2).unwrap_or(w).to_owned())
        .collect();
    all.sort_unstable();
    if all.len() < 2 {
        all = vec![all.concat()]
    }
    all
}

fn meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (_, words) = MEANT.iter().find(|(other, _)| *other == word)?;
    words.iter().find_map(|w| known.iter().find(|k| *k == w).copied())
}

/// `region` for `home_region`, `orders_total` for `orders`: if only one known word has it as a part, at a `_`.
fn part<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let holds = |long: &str, short: &str| {
        let ends = |rest: Option<&str>| rest.is_some_and(|r| r.starts_with('_') || r.ends_with('_'));
        short.len() >= 4 && (ends(long.strip_prefix(short)) || ends(long.strip_suffix(short)))
    };
    let mut found = known.iter().filter(|k| {
        let lower = k.to_lowercase();
        holds(&lower, word) || holds(word, &lower)
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let keys = ["time", "key", "mode", "where", "references", "duplicates", "late", "columns", "derive"];
        for (word, meant) in [
            ("tiem", Some("time")),
            ("Time", Some("time")),
            ("column", Some("columns")),
            ("refrences", Some("references")),
            ("duplicate", Some("duplicates")),
            ("wehre", Some("where")),
            ("filter", Some("where")),
            ("primary_key", Some("key")),
            ("dime", Some("time")),
            ("node", Some("mode")),
            ("x", None),
            ("licence", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
        assert_eq!(nearest("r", ["f", "m"]), None);
        assert_eq!(nearest("ts", ["st", "tx"]), Some("st"));
        assert_eq!(nearest("region_home", ["home_region", "region"]), Some("home_region"));
        assert_eq!(nearest("orderCount", ["order_count"]), Some("order_count"));
        assert_eq!(nearest("region", ["home_region", "age"]), Some("home_region"));
        assert_eq!(nearest("region", ["home_region", "work_region"]), None);
        assert_eq!(nearest("nvl", ["coalesce", "sum"]), Some("coalesce"));
    }
}
