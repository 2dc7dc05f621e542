//! What is wrong with the user's file, said so that a stranger can mend it. Never prints; the command line renders these.

use crate::similar;
use crate::text::Span;
use std::fmt;

/// A stable code, `S` and four digits; `strata explain CODE` has a page for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

/// Whether a diagnostic stops the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs until this is mended.
    Error,
    /// The run goes on.
    Warning,
}

/// Which exit the diagnostic leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The pipeline is wrong: exit 2.
    Invalid,
    /// Consent or a column class forbids it: exit 5.
    Policy,
    /// The data are not as the pipeline declares: exit 3.
    Data,
}

/// One thing wrong with the user's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// Exit it leads to.
    pub kind: Kind,
    /// One lowercase sentence; backticks round the user's own text.
    pub message: String,
    /// Where.
    pub span: Span,
    /// Short text beside the marked place; may be empty.
    pub label: String,
    /// What to do next.
    pub help: Option<String>,
    /// Other places that matter, e.g. the first of two equal keys.
    pub also: Vec<(Span, String)>,
}

impl Diagnostic {
    /// An error of the pipeline's text.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            kind: Kind::Invalid,
            message: message.into(),
            span,
            label: String::new(),
            help: None,
            also: Vec::new(),
        }
    }

    /// A refusal by consent or column class.
    pub fn policy(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { kind: Kind::Policy, ..Self::error(code, span, message) }
    }

    /// Data that are not as declared.
    pub fn data(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { kind: Kind::Data, ..Self::error(code, span, message) }
    }

    /// Something that runs but deserves a look.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// With a help line.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a label at the marked place.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With another place that matters.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.also.push((span, text.into()));
        self
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The nearest of `known` to `word`, if it is near enough to be meant.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    similar::nearest(word, known)
}
