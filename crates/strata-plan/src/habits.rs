//! Words of other tools and languages, and what stands for them here: for the help line of a text that is wrong anyway. Never judges a text.

/// What to write in place of a function that is not known here.
pub(crate) fn of_function(name: &str) -> Option<&'static str> {
    // `age.startswith('6')` is a method of `age`.
    let name = name.rsplit('.').next().unwrap_or(name);
    Some(match name {
        "if" | "iff" | "iif" | "ifelse" | "case_when" | "decode" => "write `case when condition then a else b end`",
        "isnull" | "is_null" => "write `x is null`, or `coalesce(x, 0)` for a value in its place",
        "dayofweek" | "day_of_week" | "weekday" | "dow" | "isodayofweek" => "write `isodow(ts)`: 1 is Monday, 7 is Sunday",
        "dayofmonth" | "dayofyear" | "day" | "month" | "year" | "quarter" | "week" | "weekofyear" => {
            "write `date_part('month', cast(ts as date))`, which takes `year`, `quarter`, `month`, `week`, `day`, `doy`"
        }
        "datediff" | "date_diff" | "timestampdiff" | "months_between" | "age" => {
            "write `days_since(ts)` up to `as_of`, or `cast(a as date) - cast(b as date)`"
        }
        "dateadd" | "date_add" | "date_sub" | "adddate" | "add_months" => "write `x + interval '3 days'`, or `as_of - 30d`",
        "to_date" | "date" | "str_to_date" | "parse_date" | "trunc_date" => "write `cast(x as date)`",
        "to_timestamp" | "timestamp" | "parse_timestamp" | "strptime" => "write `cast(x as timestamp)`",
        "to_number" | "int" | "float" | "tofloat" | "toint" | "safe_cast" | "try_cast" => {
            "write `cast(x as double)` or `cast(x as bigint)`"
        }
        "str" | "to_string" | "tostring" | "text" => "write `cast(x as varchar)`",
        "count_if" | "countif" | "sumif" | "sum_if" | "countifs" | "sumifs" => {
            "write `count(*) filter (where condition)`, or `total(x) filter (where condition)`"
        }
        "nunique" | "uniq" | "approx_distinct" | "approx_count_distinct" => "write `count(distinct x)`",
        "max_by" | "argmax" | "arg_max" | "any_value" | "last" | "last_value" | "first_value" => {
            "write `first(x order by ts desc, rest_of_key)`"
        }
        "min_by" | "argmin" | "arg_min" => "write `first(x order by ts, rest_of_key)`",
        "startswith" | "startsWith" => "write `starts_with(x, 'a')`",
        "endswith" => "write `ends_with(x, 'a')`",
        "len" | "char_len" => "write `length(x)`",
        "instr" | "find" | "index_of" | "charindex" => "write `strpos(x, 'a')`, or `contains(x, 'a')`",
        "string_agg" | "group_concat" | "listagg" | "array_agg" | "collect_list" | "collect_set" => {
            "an attribute is one value: `count(distinct x)`, `mode() within group (order by x)`, or a table of its own"
        }
        "ntile" | "rank" | "dense_rank" | "percent_rank" | "qcut" => {
            "rank rows in the SELECT of a table; equal groups of people are `segments: {level: {quantile: x, bins: 4}}`"
        }
        _ => return None,
    })
}

/// What to write in place of a text that cannot be read as an expression, or as a SELECT.
pub(crate) fn of_text(text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    let words = || text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let count = |word: &str| words().filter(|w| *w == word).count();
    let opens = text.matches('(').count();
    Some(if text.contains("{{") || text.contains("{%") {
        "there is no template language: `${vars.name}` puts in what stands under `vars`"
    } else if text.contains("&&") {
        "write `and`"
    } else if text.contains('?') && text.contains(':') {
        "write `case when condition then a else b end`"
    } else if count("case") > count("end") {
        "every `case when … then …` ends with `end`"
    } else if words().next() == Some("if") {
        "write `case when condition then a else b end`"
    } else if text.contains(" in [") {
        "write a list as `in ('a', 'b')`"
    } else if opens > text.matches(')').count() {
        "a bracket is not closed"
    } else {
        return None;
    })
}

/// The same for a text that stands where one expression is expected.
pub(crate) fn of_expression(text: &str) -> Option<&'static str> {
    let lower = text.trim().to_lowercase();
    if lower.starts_with("select ") || lower.starts_with("select\n") {
        return Some(
            "one expression is expected here, such as `sum(x)`: the block says `from`; a SELECT is a table under `tables:`",
        );
    }
    if lower.contains(") where ") {
        return Some("write `count(*) filter (where condition)`, or `where:` beside `columns:` for all of the block");
    }
    of_text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_are_known_by_their_words() {
        assert!(of_function("age.startswith").unwrap().contains("starts_with"));
        assert!(of_function("iff").unwrap().contains("case when") && of_function("cuont").is_none());
        for (text, word) in [
            ("select sum(x) from t", "tables:"),
            ("{{ var('x') }}", "template"),
            ("a && b", "`and`"),
            ("x ? 1 : 0", "case when"),
            ("case when a then 'x'", "ends with `end`"),
            ("a in ['x']", "in ('a', 'b')"),
            ("count(*) where x > 1", "filter (where"),
            ("mean(x", "not closed"),
        ] {
            assert!(of_expression(text).is_some_and(|help| help.contains(word)), "{text}");
        }
        assert!(of_expression("sum(x) + + y").is_none() && of_text("select a from b").is_none());
    }
}
