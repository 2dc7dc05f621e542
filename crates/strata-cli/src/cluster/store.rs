//! The run store by address. Never prints the address: it may hold a password.

use std::path::Path;
use std::sync::Arc;
use strata_store::{PostgresStore, RunStore, SqliteStore};

/// `sqlite:PATH`, a path, or `postgres://…`; `env:NAME` takes the address from the environment.
pub(crate) async fn open(address: &str) -> Result<Arc<dyn RunStore>, String> {
    let address = match address.strip_prefix("env:") {
        Some(name) => from_environment(name).ok_or(format!("the environment has no `{name}`, which `--store` names"))?,
        None => address.to_owned(),
    };
    if address.starts_with("postgres://") || address.starts_with("postgresql://") {
        return PostgresStore::connect(&address).await.map(|s| Arc::new(s) as Arc<dyn RunStore>).map_err(|e| e.to_string());
    }
    let path = address.strip_prefix("sqlite:").unwrap_or(&address);
    if let Some(folder) = Path::new(path).parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make `{}`: {e}", folder.display()))?;
    }
    SqliteStore::open(Path::new(path)).map(|s| Arc::new(s) as Arc<dyn RunStore>).map_err(|e| e.to_string())
}

#[expect(clippy::disallowed_methods, reason = "an address that may hold a password is given by reference")]
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
