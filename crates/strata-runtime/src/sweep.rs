//! Looking through and clearing folders of the work area. Never follows anything out of the place it was given.

use crate::store::Place;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

/// Names of the folders right below a place.
pub async fn folders(place: &Place) -> object_store::Result<Vec<String>> {
    let listed = place.store.list_with_delimiter(Some(&place.path)).await?;
    Ok(listed.common_prefixes.iter().filter_map(|p| p.filename().map(str::to_owned)).collect())
}

/// Removes everything below a place.
pub async fn clear(place: &Place) -> object_store::Result<()> {
    let paths = place.store.list(Some(&place.path)).map_ok(|o| o.location).boxed();
    place.store.delete_stream(paths).try_collect::<Vec<_>>().await?;
    if let Some(folder) = place.local() {
        // Empty folders are no objects.
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(())
}
