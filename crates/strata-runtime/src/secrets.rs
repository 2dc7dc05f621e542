//! Secrets are references in a plan and values only here, where they are used. Never prints one.

/// Lets functions resolve `env:NAME` references from this process's environment.
pub fn install() {
    strata_operators::functions::set_secret_resolver(from_environment);
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads secrets")]
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
