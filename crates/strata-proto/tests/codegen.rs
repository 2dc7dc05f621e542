//! Generates `src/generated` from `proto/` and fails if what is committed differs. Never needs `protoc`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// On a difference the committed files are renewed before the test fails: run it again, then commit them.
#[test]
fn generated_code_is_fresh() -> Result<(), Box<dyn Error>> {
    // Asked for at run time: a target folder may serve several checkouts.
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo says where the crate is")?);
    let root = here.join("../../proto");
    let mut sources = Vec::new();
    proto_files(&root, &mut sources)?;
    sources.sort();
    assert!(!sources.is_empty(), "no .proto file under proto/");

    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("codegen");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let set = protox::compile(&sources, [&root])?;
    // For server reflection: the files of the run API and what they import, without comments.
    let mut served = set.clone();
    served.file.retain(|f| matches!(f.package(), "strata.v1" | "google.protobuf"));
    served.file.iter_mut().for_each(|f| f.source_code_info = None);
    fs::write(out.join("strata.v1.bin"), prost::Message::encode_to_vec(&served))?;
    // Packages without services need nothing of tonic.
    tonic_prost_build::configure().out_dir(&out).btree_map(".").compile_fds(set)?;

    let committed = here.join("src/generated");
    let (fresh, old) = (files(&out)?, files(&committed)?);
    if fresh != old {
        fs::remove_dir_all(&committed)?;
        fs::create_dir_all(&committed)?;
        for (name, bytes) in &fresh {
            fs::write(committed.join(name), bytes)?;
        }
    }
    let stale: Vec<&String> = fresh.keys().chain(old.keys()).filter(|name| fresh.get(*name) != old.get(*name)).collect();
    assert!(stale.is_empty(), "{stale:?} in src/generated were stale and have been renewed: run the tests again and commit it");
    Ok(())
}

fn proto_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            proto_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    if folder.exists() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            found.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
        }
    }
    Ok(found)
}
