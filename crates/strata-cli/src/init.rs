//! `strata init`: the quickstart pipeline and a generated retailer to try it on. Never writes into a folder that holds anything.

use std::path::Path;
use strata_demo::{Size, generate};

/// The pipeline that is shipped as `pipelines/quickstart`.
const PIPELINE: &str = include_str!("../../../pipelines/quickstart/pipeline.yaml");
/// Seed of the generated data.
const SEED: u64 = 7;

/// Makes the folder. Errors: what to do, in words.
pub(crate) fn make(dir: &Path, customers: u32) -> Result<(), String> {
    let taken = std::fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some());
    if taken {
        return Err(format!("`{}` exists and is not empty; name another folder: `strata init NAME`", dir.display()));
    }
    let data = dir.join("data");
    let failed = |e: std::io::Error| format!("cannot write to `{}`: {e}", dir.display());
    std::fs::create_dir_all(&data).map_err(failed)?;
    std::fs::write(dir.join("pipeline.yaml"), PIPELINE).map_err(failed)?;
    std::fs::write(dir.join(".gitignore"), "/data/\n/out/\n/.strata/\n").map_err(failed)?;
    generate(&data, &Size { customers, ..Size::default() }, SEED).map(|_| ()).map_err(|e| e.to_string())
}
