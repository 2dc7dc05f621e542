//! Diagnostics as workflow commands of GitHub Actions, which it shows beside the lines of a change. Never lets a message end a
//! command.

use super::{Region, Regions};
use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::text::SourceText;

/// One command a line: `::error file=…,line=…,endLine=…,col=…,endColumn=…,title=CODE title::message`. Empty if nothing was found.
pub fn github(source: &SourceText, found: &[Diagnostic]) -> String {
    let regions = Regions::of(source);
    found.iter().map(|d| one(source, &regions, d)).collect::<Vec<_>>().join("\n")
}

fn one(source: &SourceText, regions: &Regions, d: &Diagnostic) -> String {
    let Region { line, column, end_line, end_column } = regions.region(d.span);
    let command = match d.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    // Columns have a meaning only within one line.
    let columns = match line == end_line {
        true => format!(",col={column},endColumn={end_column}"),
        false => String::new(),
    };
    let title = format!("{} {}", d.code, codes::title(d.code).unwrap_or_default());
    let help = d.help.as_ref().map(|h| format!("\nhelp: {h}")).unwrap_or_default();
    format!(
        "::{command} file={},line={line},endLine={end_line}{columns},title={}::{}",
        property(&source.path),
        property(title.trim()),
        data(&format!("{}{help}", d.message)),
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Span;

    #[test]
    fn nothing_in_a_message_ends_the_command() {
        let source = SourceText { path: "a,b:c.yaml".to_owned(), text: "x: y\nz: 1\n".to_owned() };
        let found = Diagnostic::error(codes::EMPTY, Span::new(3, 4), "50% of\n`::error::`").help("a, b: c");
        let said = github(&source, &[found.clone(), Diagnostic { severity: Severity::Warning, span: Span::new(0, 7), ..found }]);
        assert_eq!(
            said,
            "::error file=a%2Cb%3Ac.yaml,line=1,endLine=1,col=4,endColumn=5,title=S0105 a value is empty::50%25 of%0A`::error::`%0Ahelp: a, b: c\n\
             ::warning file=a%2Cb%3Ac.yaml,line=1,endLine=2,title=S0105 a value is empty::50%25 of%0A`::error::`%0Ahelp: a, b: c"
        );
    }
}
