//! Paths in a pipeline that only mean something in one folder of one machine. Never touches a file.

use strata_spec::{Diagnostic, Name, Pipeline, Span, codes};

/// What is wrong with the places of a pipeline that is to run on a cluster: each worker would look in a folder of its own.
pub(crate) fn relative(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let sources = pipeline.sources.iter().map(|s| ("source", &s.name, &s.path));
    let outputs = pipeline.outputs.iter().map(|o| ("output", &o.name, &o.to));
    sources
        .chain(outputs)
        .filter(|(_, _, place)| is_relative(&place.value))
        .map(|(what, name, place)| found(what, name, place))
        .collect()
}

fn found(what: &str, name: &Name, place: &Name) -> Diagnostic {
    let message =
        format!("`{}` of the {what} `{}` is a relative path, and a cluster has no current folder", place.value, name.value);
    let help = "write an address such as `s3://bucket/folder`, or an absolute path that every worker and the coordinator see; \
                `-p name=value` sets a variable of it";
    Diagnostic::error(codes::BAD_VALUE, anchored(place.span, name.span), message).help(help)
}

fn anchored(place: Span, name: Span) -> Span {
    if place == Span::default() { name } else { place }
}

fn is_relative(address: &str) -> bool {
    match address.split_once("://") {
        Some(("file", path)) => !path.starts_with('/'),
        Some(_) => false,
        None => !address.starts_with('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_absolute_paths_are_the_same_everywhere() {
        for address in ["/data/x.parquet", "file:///data", "s3://bucket/x"] {
            assert!(!is_relative(address), "{address}");
        }
        for address in ["data", "./data", "../data/*.parquet", "file://data", ""] {
            assert!(is_relative(address), "{address}");
        }
    }
}
