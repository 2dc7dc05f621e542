//! Advice on YAML's traps for people who write SQL in it. Never changes what was read; it only words help lines.

/// Said wherever YAML took an SQL expression apart.
pub(crate) const QUOTE: &str = "quote this, or use `|` and put it on a line of its own";

/// Said where it may be that an SQL expression is at fault.
pub(crate) const EXPRESSION: &str = "if this is an expression: quote this, or use `|` and put it on a line of its own";

/// Characters with a meaning in YAML at the start of a value.
const MARKS: &[char] = &['\'', '"', '-', '[', ']', '{', '}', '%', '@', '`', '!', '&', '*', '|', '>', '?', ','];

/// What the scanner says, in words for people who do not know YAML's grammar.
pub(crate) fn said(info: &str) -> String {
    if info.contains("invalid trailing content") {
        "text goes on after a closing quote".to_owned()
    } else if info.contains("mapping values are not allowed") {
        "a second `: ` stands in one value".to_owned()
    } else if info.contains("expected key") || info.contains("block collection") {
        "text goes on after a value, or a line is indented wrongly".to_owned()
    } else if info.contains("found a tab") || info.contains("tabs disallowed") {
        "a tab indents a line".to_owned()
    } else if info.contains("quoted scalar") {
        "a quote is not closed".to_owned()
    } else if info.contains("did not find expected ',' or") || info.contains("expected ',' or") {
        "a bracket is not closed, or a comma is missing".to_owned()
    } else {
        info.replace('\'', "`")
    }
}

/// A help line for text that is not YAML, from the scanner's words and the line it stopped on.
pub(crate) fn for_syntax(info: &str, line: &str) -> String {
    if info.contains("tab") || line.trim_start_matches(' ').starts_with('\t') {
        return "indent with spaces; YAML does not allow tabs there".to_owned();
    }
    if info.contains("quoted scalar") && !info.contains("trailing") {
        return "the quote opened here is never closed; lines of a quoted text must be indented".to_owned();
    }
    if info.contains("trailing content") && line.contains('{') && line.contains(',') {
        return format!("inside `{{…}}` and `[…]` a comma ends the value, and a quote must be all of it; {EXPRESSION}");
    }
    if let Some(value) = trapped(line) {
        return match value.chars().next().filter(|c| MARKS.contains(c)) {
            Some(mark) => {
                format!("YAML gives a value that starts with `{mark}` a meaning of its own; if it is an expression: {QUOTE}")
            }
            None => format!("YAML reads `: ` inside a value as another key; if it is an expression: {QUOTE}"),
        };
    }
    if info.contains("indent") || info.contains("expected key") || info.contains("block collection") {
        return "check the indentation of this line and of the one above it".to_owned();
    }
    format!("check brackets, quotes and indentation here; {EXPRESSION}")
}

/// The value in a line that YAML may have misread as something else than text.
fn trapped(line: &str) -> Option<&str> {
    let item = line.trim().trim_start_matches("- ");
    let mut rest = item;
    while let Some(at) = rest.find(": ") {
        rest = rest[at + 2..].trim_start();
        let quoted_whole = is_one_quoted(rest);
        if !quoted_whole && rest.starts_with(MARKS) && !rest.starts_with('{') {
            return Some(rest);
        }
        if !quoted_whole && !rest.starts_with('{') && !line.contains('{') && rest.contains(": ") {
            return Some(rest);
        }
    }
    None
}

fn is_one_quoted(value: &str) -> bool {
    let Some(quote) = value.chars().next().filter(|c| *c == '\'' || *c == '"') else { return false };
    let inner = &value[1..];
    inner.trim_end().strip_suffix(quote).is_some_and(|i| !i.contains(quote))
}

/// How many more `(` and `[` than `)` and `]` stand outside SQL's quotes.
pub(crate) fn open_brackets(text: &str) -> i64 {
    let mut open = 0;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[') => open += 1,
            (None, ')' | ']') => open -= 1,
            (None, _) => {}
        }
    }
    open
}

/// True if a bracket or a quote of SQL is left open.
pub(crate) fn is_open(text: &str) -> bool {
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None => {}
        }
    }
    quote.is_some() || open_brackets(text) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_inside_sql_quotes_do_not_count() {
        assert_eq!(open_brackets("coalesce(y"), 1);
        assert_eq!(open_brackets("coalesce(y, ')')"), 0);
        assert_eq!(open_brackets("1)"), -1);
    }

    #[test]
    fn a_quoted_whole_value_is_no_trap() {
        assert_eq!(trapped("a: 'x'"), None);
        assert_eq!(trapped("a: 'x' || y"), Some("'x' || y"));
        assert_eq!(trapped("a: b: c"), Some("b: c"));
    }
}
