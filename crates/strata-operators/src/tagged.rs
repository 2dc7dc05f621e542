//! The names of pinned files in a plan: a path and the entity tag that the file had. Never names a file that nobody pinned.
//!
//! DataFusion's readers ask a store by path alone, and its wire format of a scan carries path, size and time of a file and no
//! entity tag. So the tag is part of the path: `@pinned/<tag in hex>/<path>`, which the stores of `strata_runtime` understand in
//! every process. It also keeps cached footers of two versions of a file apart.

/// The folder of such names. No address may lead there, so no other file has one.
pub const FOLDER: &str = "@pinned";

/// The name of a file with an entity tag.
pub fn name(path: &str, etag: &str) -> String {
    let hex: String = etag.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{FOLDER}/{hex}/{path}")
}

/// The path and the entity tag of a name; `None` where it is not such a name.
pub fn parse(name: &str) -> Option<(&str, String)> {
    let (hex, path) = name.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
    let digits = hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let etag = String::from_utf8(digits.collect::<Option<Vec<u8>>>()?).ok()?;
    (!etag.is_empty()).then_some((path, etag))
}

/// Whether a path is below the folder.
pub fn is_reserved(path: &str) -> bool {
    path.strip_prefix(FOLDER).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_back_path_and_tag() {
        for etag in ["\"9b2cf535f27731c9-3\"", "W/\"ü/%\"", "0"] {
            let name = name("lake/a b/x=1/part.parquet", etag);
            assert_eq!(parse(&name), Some(("lake/a b/x=1/part.parquet", etag.to_owned())));
            assert!(is_reserved(&name));
        }
        for other in ["lake/x.parquet", "@pinned", "@pinned/22", "@pinned//x", "@pinned/zz/x", "@pinnedx/22/x"] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert!(!is_reserved("@pinnedx/22/x"));
    }
}
