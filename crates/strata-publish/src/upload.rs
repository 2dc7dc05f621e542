//! One object, streamed to a store in parts. It never leaves a half-written object visible: what is not finished is aborted.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayloadMut, Result};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Bytes of a part. All parts but the last have it (some stores insist); 10,000 parts make 80 GiB.
const PART_BYTES: usize = 8 << 20;

/// Parts on their way at the same time; with the one being filled, an upload holds at most three.
const PARTS_IN_FLIGHT: usize = 2;

/// An object being written. A small one is one put; a larger one a multipart upload.
pub(crate) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    pending: PutPayloadMut,
    parts: Option<Parts>,
    written: u64,
}

struct Parts {
    upload: Box<dyn MultipartUpload>,
    running: JoinSet<Result<()>>,
}

impl Upload {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { store, path, pending: PutPayloadMut::new(), parts: None, written: 0 }
    }

    /// Bytes given to it so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes it holds in memory, at most.
    pub(crate) fn memory_bytes(&self) -> usize {
        let running = self.parts.as_ref().map_or(0, |parts| parts.running.len());
        self.pending.content_length() + running * PART_BYTES
    }

    /// Adds `bytes`; waits while too many parts are on their way.
    pub(crate) async fn push(&mut self, mut bytes: Bytes) -> Result<()> {
        self.written += bytes.len() as u64;
        while self.pending.content_length() + bytes.len() >= PART_BYTES {
            let room = PART_BYTES - self.pending.content_length();
            self.pending.push(bytes.split_to(room));
            self.send_part().await?;
        }
        if !bytes.is_empty() {
            self.pending.push(bytes);
        }
        Ok(())
    }

    /// Makes the object visible, whole.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        if self.parts.is_none() {
            let payload = std::mem::take(&mut self.pending).freeze();
            self.store.put(&self.path, payload).await?;
            return Ok(());
        }
        if !self.pending.is_empty() {
            self.send_part().await?;
        }
        if let Some(parts) = &mut self.parts {
            parts.wait(0).await?;
            parts.upload.complete().await?;
        }
        self.parts = None;
        Ok(())
    }

    /// Gives up: whatever was sent is removed, as far as the store answers.
    pub(crate) async fn abort(&mut self) {
        self.pending = PutPayloadMut::new();
        if let Some(parts) = self.parts.take() {
            parts.abort().await;
        }
    }

    async fn send_part(&mut self) -> Result<()> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => {
                let upload = self.store.put_multipart(&self.path).await?;
                none.insert(Parts { upload, running: JoinSet::new() })
            }
        };
        parts.wait(PARTS_IN_FLIGHT - 1).await?;
        let part = std::mem::take(&mut self.pending).freeze();
        parts.running.spawn(parts.upload.put_part(part));
        Ok(())
    }
}

impl Parts {
    /// Waits until at most `most` parts are on their way. Errors: the first part that failed.
    async fn wait(&mut self, most: usize) -> Result<()> {
        while self.running.len() > most {
            match self.running.join_next().await {
                Some(Ok(sent)) => sent?,
                Some(Err(source)) => return Err(object_store::Error::JoinError { source }),
                None => break,
            }
        }
        Ok(())
    }

    /// A store that does not answer keeps the parts until its own lifecycle rule removes them; they are no object.
    async fn abort(mut self) {
        self.running.shutdown().await;
        drop(self.upload.abort().await);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) = (self.parts.take(), Handle::try_current()) {
            runtime.spawn(parts.abort());
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("path", &self.path).field("written", &self.written).finish_non_exhaustive()
    }
}
