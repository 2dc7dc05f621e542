//! Pages of diagnostic codes. Never guesses a page.

/// The page of a code.
pub(crate) fn page(code: &str) -> Option<&'static str> {
    let code = code.to_ascii_uppercase();
    strata_spec::codes::explain(&code).or_else(|| strata_plan::codes::explain(&code))
}
