//! What libraries say through `log`, among our own lines. Never lets through what `STRATA_LOG` does not ask for.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Bridge;

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match metadata.level() {
            Level::Error => tracing::enabled!(target: "libraries", tracing::Level::ERROR),
            Level::Warn => tracing::enabled!(target: "libraries", tracing::Level::WARN),
            Level::Info => tracing::enabled!(target: "libraries", tracing::Level::INFO),
            Level::Debug => tracing::enabled!(target: "libraries", tracing::Level::DEBUG),
            Level::Trace => tracing::enabled!(target: "libraries", tracing::Level::TRACE),
        }
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (from, said) = (record.target(), record.args());
        match record.level() {
            Level::Error => tracing::error!(target: "libraries", "{from}: {said}"),
            Level::Warn => tracing::warn!(target: "libraries", "{from}: {said}"),
            Level::Info => tracing::info!(target: "libraries", "{from}: {said}"),
            Level::Debug => tracing::debug!(target: "libraries", "{from}: {said}"),
            Level::Trace => tracing::trace!(target: "libraries", "{from}: {said}"),
        }
    }

    fn flush(&self) {}
}

/// From now on. Shown with `STRATA_LOG=libraries=warn` and the like.
pub(crate) fn listen() {
    // Another logger may be set in a test.
    if log::set_logger(&Bridge).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
