//! Sealed chunks into packs, of which one is written while the next is filled.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Pending;
use crate::files::Failure;
use crate::inner::Inner;
use crate::pack::{Complete, Pack, PackBuilder};

pub(super) struct Packer {
    inner: Arc<Inner>,
    pending: Pending,
    filling: PackBuilder,
    /// It goes on to its end, whatever becomes of the stream: what is half written is nobody's.
    writing: Option<JoinHandle<Result<Pack, Failure>>>,
}

impl Packer {
    pub(super) fn new(inner: Arc<Inner>, pending: Pending) -> Self {
        Self { inner, pending, filling: PackBuilder::default(), writing: None }
    }

    pub(super) async fn push(&mut self, sealed: &PackBuilder) -> Result<(), Failure> {
        self.filling.append(sealed);
        if self.filling.is_full() {
            let memory = self.written().await?;
            let full = std::mem::replace(&mut self.filling, PackBuilder::reusing(memory));
            let inner = Arc::clone(&self.inner);
            let write = async move { inner.write_pack(full, Complete::default()).await };
            self.writing = Some(tokio::spawn(write));
        }
        Ok(())
    }

    /// Answers what makes no whole pack.
    pub(super) async fn finish(mut self) -> Result<PackBuilder, Failure> {
        self.written().await?;
        Ok(self.filling)
    }

    /// Waits for the pack that is written, and answers the memory that it took.
    async fn written(&mut self) -> Result<Vec<u8>, Failure> {
        let Some(writing) = self.writing.take() else { return Ok(Vec::new()) };
        let pack = crate::joined(writing).await?;
        // They are known to all now.
        self.pending.remove(pack.entry.lines.0.iter().map(|line| line.chunk.id));
        Ok(pack.bytes.try_into_mut().map(Vec::from).unwrap_or_default())
    }
}
