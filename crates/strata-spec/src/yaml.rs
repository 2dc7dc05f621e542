//! YAML text → a tree of spanned nodes, on the events of `saphyr-parser`: the only file that knows that crate.
//! Never accepts anchors, aliases, tags, merge keys, several documents, deep or huge files.

use crate::advice;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::places::Places;
use crate::problems::{Problems, shown};
use crate::text::{Located, Span};
use crate::tree::{Entry, Node, Style, Text, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};
use std::collections::HashMap;

/// Largest file, in bytes.
pub(crate) const BYTES_MAX: usize = 1 << 20;
/// Longest line, in bytes: within brackets, the scanner reads to its end before it says anything.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 18;
/// Most keys and values together.
pub(crate) const SCALARS_MAX: usize = 30_000;
/// Deepest nesting of lists and mappings.
pub(crate) const DEPTH_MAX: usize = 64;

/// Why a file is no tree.
#[derive(Debug)]
pub(crate) struct Broken {
    /// What is wrong.
    pub(crate) diagnostic: Diagnostic,
    /// Where the scanner stopped.
    pub(crate) at: usize,
    /// True if only the text at that place cannot be read, so that the rest may be.
    pub(crate) mendable: bool,
}

/// The tree of a file; `None`, reported, if it holds none. `passed` are places that were reported and painted over: what stands
/// there is `Refused`. Errors: where reading had to stop.
pub(crate) fn tree(source: &str, passed: &[Span], problems: &mut Problems) -> Result<Option<Node>, Box<Broken>> {
    if source.len() > BYTES_MAX {
        let message = format!("the file has {} bytes; {BYTES_MAX} are allowed", source.len());
        problems.add(
            Diagnostic::error(codes::TOO_LARGE, Span::default(), message)
                .help("data belongs in sources, not in the pipeline file"),
        );
        return Ok(None);
    }
    let places = Places::of(source);
    if let Some(line) = (0..places.count()).map(|l| places.line_span(source, l)).find(|l| l.end - l.start > LINE_BYTES_MAX) {
        let message = format!("a line has {} bytes; {LINE_BYTES_MAX} are allowed", line.end - line.start);
        let help = "data belongs in sources, not in the pipeline file; break long expressions into lines below a `|`";
        problems.add(Diagnostic::error(codes::TOO_LARGE, Span::new(line.start, line.start), message).help(help));
        return Ok(None);
    }
    let parser = Parser::new_from_str(source);
    let mut builder = Builder { parser, places, source, passed, depth: 0, scalars: 0, problems };
    builder.document().map_err(|stop| {
        let mendable = matches!(stop, Stop::Syntax(_)) && !matches!(&stop, Stop::Syntax(e) if e.info().contains("recursion"));
        let at = if let Stop::Syntax(e) = &stop { builder.places.byte(e.marker().index()) } else { 0 };
        Box::new(Broken { diagnostic: builder.stopped(&stop), at, mendable })
    })
}

struct Builder<'a, 'p> {
    parser: Parser<'a, StrInput<'a>>,
    places: Places,
    source: &'a str,
    passed: &'p [Span],
    depth: usize,
    scalars: usize,
    problems: &'p mut Problems,
}

/// Why reading ended early.
enum Stop {
    Syntax(ScanError),
    TooDeep(Span),
    TooMany(Span),
    NoMoreEvents,
}

type Events<'a> = (Event<'a>, Span);

impl<'a> Builder<'a, '_> {
    fn next(&mut self) -> Result<Events<'a>, Stop> {
        let (event, span) = self.parser.next_event().ok_or(Stop::NoMoreEvents)?.map_err(Stop::Syntax)?;
        let start = self.places.byte(span.start.index());
        let end = self.places.byte(span.end.index()).max(start);
        Ok((event, Span::new(start, end)))
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        loop {
            match self.next()?.0 {
                Event::DocumentStart(_) => break,
                Event::StreamEnd => {
                    let empty = Diagnostic::error(codes::EMPTY, Span::default(), "the file is empty");
                    self.problems.add(empty.help("a pipeline starts with `version: 1` and `name: …`"));
                    return Ok(None);
                }
                _ => {}
            }
        }
        let (event, span) = self.next()?;
        let node = self.node(event, span)?;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(Some(node)),
                (Event::DocumentStart(_), span) => {
                    let message = "a second YAML document starts here";
                    self.problems.add(
                        Diagnostic::error(codes::SEVERAL_DOCUMENTS, span, message)
                            .help("one file holds one pipeline: remove the `---`"),
                    );
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalars += 1;
                if self.scalars > SCALARS_MAX {
                    return Err(Stop::TooMany(span));
                }
                if self.refused(anchor, tag.is_some(), span)
                    || self.passed.iter().any(|p| p.start < span.end && span.start < p.end)
                {
                    return Ok(Node { span, value: Value::Refused });
                }
                Ok(self.scalar(text.into_owned(), style, span))
            }
            Event::SequenceStart(anchor, tag) => {
                self.refused(anchor, tag.is_some(), span);
                self.deeper(span)?;
                let node = self.list(span);
                self.depth -= 1;
                node
            }
            Event::MappingStart(anchor, tag) => {
                self.refused(anchor, tag.is_some(), span);
                self.deeper(span)?;
                let node = self.map(span);
                self.depth -= 1;
                node
            }
            Event::Alias(_) => {
                self.refuse(span, "an alias");
                Ok(Node { span, value: Value::Refused })
            }
            _ => Err(Stop::NoMoreEvents),
        }
    }

    fn deeper(&mut self, span: Span) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(Stop::TooDeep(span)) } else { Ok(()) }
    }

    fn refused(&mut self, anchor: usize, tagged: bool, span: Span) -> bool {
        if anchor > 0 {
            self.refuse(span, "an anchor");
        } else if tagged {
            self.refuse(span, "a tag");
        }
        anchor > 0 || tagged
    }

    fn refuse(&mut self, span: Span, what: &str) {
        let text = shown(self.source.get(span.range()).unwrap_or_default());
        let message = format!("`{text}`: YAML reads {what} here, and pipelines have none");
        let help = format!("write the value out; if this is an expression: {}", advice::QUOTE);
        self.problems.add(Diagnostic::error(codes::YAML_FEATURE, span, message).help(help));
    }

    fn list(&mut self, open: Span) -> Result<Node, Stop> {
        let flow = self.source[open.start..].starts_with('[');
        let mut items: Vec<Node> = Vec::new();
        let mut split: Option<Span> = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                self.report_split(split);
                let end = end_of(flow, span, items.last().map(|i| i.span), open);
                return Ok(Node { span: Span::new(open.start, end), value: Value::List(items) });
            }
            let item = self.node(event, span)?;
            let joins = flow && closes(items.last(), item.text());
            match items.last_mut() {
                Some(last) if joins => split = Some(self.join(last, item.span)),
                _ => {
                    self.report_split(split.take());
                    items.push(item);
                }
            }
        }
    }

    fn map(&mut self, open: Span) -> Result<Node, Stop> {
        let flow = self.source[open.start..].starts_with('{');
        let mut entries: Vec<Entry> = Vec::new();
        let mut split: Option<Span> = None;
        let mut first_places: HashMap<String, Span> = HashMap::new();
        let mut merged = false;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                self.report_split(split);
                let end = end_of(flow, span, entries.last().map(|e| e.value.span), open);
                // What a merge key would bring cannot be known, nor then what is missing.
                let value = if merged { Value::Refused } else { Value::Map(entries) };
                return Ok(Node { span: Span::new(open.start, end), value });
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let mut value = self.node(event, span)?;
            if value.is_absent() {
                value.span = key.span;
            }
            let opened = entries.last().is_some_and(|e| is_open(&e.value));
            if flow && opened && value.is_absent() && key.text().is_some_and(|t| t.style == Style::Plain) {
                if let Some(last) = entries.last_mut() {
                    split = Some(self.join(&mut last.value, key.span));
                }
                continue;
            }
            self.report_split(split.take());
            merged |= key.text().is_some_and(is_merge);
            if let Some(entry) = self.entry(key, value, &mut first_places) {
                entries.push(entry);
            }
        }
    }

    /// The entry, if its key is a word that this mapping does not have yet.
    fn entry(&mut self, key: Node, value: Node, first_places: &mut HashMap<String, Span>) -> Option<Entry> {
        let null = key.is_null();
        let Value::Text(text) = key.value else {
            if !matches!(key.value, Value::Refused) {
                let message = format!("a key must be a word, found {}", key.found());
                self.problems.add(
                    Diagnostic::error(codes::WRONG_KIND, key.span, message)
                        .help(format!("if this is an expression: {}", advice::QUOTE)),
                );
            }
            return None;
        };
        if null || text.text.trim().is_empty() {
            self.problems.add(Diagnostic::error(codes::EMPTY, key.span, "a key is empty").help("write a name before the `:`"));
            return None;
        }
        if is_merge(&text) {
            self.refuse(key.span, "a merge key");
            return None;
        }
        if let Some(first) = first_places.get(&text.text) {
            let message = format!("`{}` is written twice", shown(&text.text));
            let twice =
                Diagnostic::error(codes::DUPLICATE_KEY, key.span, message).label("the second one").also(*first, "the first one");
            self.problems.add(twice.help("keep one of them, or rename one"));
            return None;
        }
        first_places.insert(text.text.clone(), key.span);
        Some(Entry { key: Located::new(text.text, key.span), value })
    }

    /// Puts back together what a comma split: `last` grows to the end of `piece`.
    fn join(&mut self, last: &mut Node, piece: Span) -> Span {
        let span = Span::new(last.span.start, piece.end);
        let text = self.source[span.range()].to_owned();
        let value = Text {
            line_starts: self.places.line_starts(self.source, span, &text, Style::Plain),
            text,
            style: Style::Plain,
            unfolded: None,
        };
        *last = Node { span, value: Value::Text(value) };
        span
    }

    fn report_split(&mut self, split: Option<Span>) {
        let Some(span) = split else { return };
        let text = shown(&self.source[span.range()]);
        let message = format!("YAML splits `{text}` at its comma");
        self.problems.add(Diagnostic::error(codes::COMMA_SPLIT, span, message).help(advice::QUOTE));
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, span: Span) -> Node {
        let (style, content, span) = match style {
            ScalarStyle::Plain => (Style::Plain, span, span),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                let end = quoted_end(self.source.as_bytes(), span.start);
                (Style::Quoted, Span::new(span.start + 1, end.saturating_sub(1).max(span.start + 1)), Span::new(span.start, end))
            }
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let end = span.start + self.source[span.range()].trim_end().len();
                let style = if style == ScalarStyle::Literal { Style::Literal } else { Style::Folded };
                (style, Span::new(span.start, end), Span::new(span.start, end))
            }
        };
        if style == Style::Plain
            && let Some(cut) = self.places.comment_behind(self.source, span).filter(|_| advice::is_open(&text))
        {
            let message = format!("YAML takes ` {}` for a comment", shown(&self.source[cut.range()]));
            self.problems.add(Diagnostic::error(codes::COMMENT_CUT, cut, message).help(advice::QUOTE));
            return Node { span, value: Value::Refused };
        }
        let line_starts = self.places.line_starts(self.source, content, &text, style);
        let unfolded = self.places.unfolded(self.source, content, style).map(Box::new);
        Node { span, value: Value::Text(Text { text, style, line_starts, unfolded }) }
    }

    /// A bracket that is open where reading stopped. On a later line, what stands there is seldom at fault.
    fn open_bracket(&self, open: usize, stopped: Span) -> Diagnostic {
        let mark = &self.source[open..=open];
        let place = Span::new(open, open + 1);
        if self.places.line_index(open) < self.places.line_index(stopped.start) {
            let message = format!("this is not YAML: the `{mark}` here is not closed, or a comma is missing behind it");
            let help = format!("close it, or add the comma; {}", advice::EXPRESSION);
            return Diagnostic::error(codes::NOT_YAML, place, message).also(stopped, "reading stopped here").help(help);
        }
        let message = "this is not YAML: a comma is missing, or a bracket is not closed";
        let help = format!("add the comma, or close the `{mark}`; {}", advice::EXPRESSION);
        Diagnostic::error(codes::NOT_YAML, stopped, message).also(place, "opened here").help(help)
    }

    fn stopped(&self, stop: &Stop) -> Diagnostic {
        match stop {
            Stop::TooDeep(span) => too_deep(*span),
            Stop::TooMany(span) => {
                let message = format!("the file has more than {SCALARS_MAX} keys and values");
                Diagnostic::error(codes::TOO_LARGE, *span, message).help("data belongs in sources, not in the pipeline file")
            }
            Stop::NoMoreEvents => {
                Diagnostic::error(codes::NOT_YAML, Span::default(), "this is not YAML").help("check that this is a pipeline file")
            }
            Stop::Syntax(error) => {
                let at = self.places.byte(error.marker().index());
                let span = Span::new(at, self.places.byte(error.marker().index() + 1).max(at));
                let info = error.info();
                if info.contains("recursion limit") {
                    return too_deep(span);
                }
                let line = self.places.line_of(self.source, at);
                if info.contains("unknown anchor") {
                    let message = "YAML reads an alias here, and pipelines have none";
                    return Diagnostic::error(codes::YAML_FEATURE, span, message)
                        .help(format!("if this is an expression: {}", advice::QUOTE));
                }
                let said = format!("this is not YAML: {}", advice::said(info));
                let plain = Diagnostic::error(codes::NOT_YAML, span, said).help(advice::for_syntax(info, line));
                let of_brackets =
                    ["flow", "indent", "indicator", "expected ','", "expected key"].iter().any(|w| info.contains(w));
                let open = self.places.open_bracket(self.source, at).filter(|_| of_brackets);
                open.map_or(plain, |open| self.open_bracket(open, span))
            }
        }
    }
}

fn too_deep(span: Span) -> Diagnostic {
    let message = format!("lists and mappings are nested more than {DEPTH_MAX} deep");
    Diagnostic::error(codes::TOO_DEEP, span, message).help("no section of a pipeline is that deep: check the brackets")
}

fn end_of(flow: bool, closing: Span, last: Option<Span>, open: Span) -> usize {
    if flow { closing.start + 1 } else { last.map_or(open.end, |l| l.end).max(open.start) }
}

fn is_merge(key: &Text) -> bool {
    key.text == "<<" && key.style == Style::Plain
}

fn is_open(node: &Node) -> bool {
    node.text().is_some_and(|t| t.style == Style::Plain && advice::open_brackets(&t.text) > 0)
}

/// True if `item` closes a bracket that `last` left open.
fn closes(last: Option<&Node>, item: Option<&Text>) -> bool {
    last.is_some_and(is_open) && item.is_some_and(|t| t.style == Style::Plain && advice::open_brackets(&t.text) < 0)
}

/// One past the closing quote of a scalar that starts at `start`.
fn quoted_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes.get(start).copied().unwrap_or(b'"');
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 2,
            _ if byte == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote) => at += 2,
            _ if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}
