//! A pipeline file of any bytes: reading and formatting it ends with a pipeline or with diagnostics that mark places of it. Never runs
//! anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_spec::{SourceText, fmt, load};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = SourceText { path: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let loaded = load(&source, &[]);
    let failed = loaded.diagnostics.iter().any(|d| d.severity == strata_spec::Severity::Error);
    assert_eq!(loaded.pipeline.is_none(), failed, "{:?}", loaded.diagnostics);
    for d in &loaded.diagnostics {
        assert!(d.span.start <= d.span.end && d.span.end <= text.len(), "{d:?} is not in the text");
        assert!(text.is_char_boundary(d.span.start) && text.is_char_boundary(d.span.end), "{d:?} cuts a character");
    }
    if let Ok(formatted) = fmt(&source) {
        let again = SourceText { text: formatted.clone(), ..source };
        assert_eq!(fmt(&again).ok().as_deref(), Some(formatted.as_str()), "formatting twice gives another text");
    }
});
