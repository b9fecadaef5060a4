//! What goes over a stream's bytes, each on a thread of its own.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use mainstay_dataplane::{Address, Cut, Md5, Sha256};
use mainstay_types::Digest;
use md5::Digest as _;
use tokio::sync::mpsc;

use super::{Pending, Work};
use crate::blocking;
use crate::chunk::{ChunkId, ChunkRef};
use crate::cutter::Cutter;
use crate::files::Failure;
use crate::inner::Inner;
use crate::pack::PackBuilder;
use crate::recipe::{Recipe, RecipeBuilder};

/// What was found of a stream.
pub(super) struct Whole {
    pub(super) address: Address,
    pub(super) sha256: Sha256,
    pub(super) md5: Option<Md5>,
    pub(super) size: u64,
}

/// A stream that was cut.
pub(super) struct Chunked {
    pub(super) address: Address,
    pub(super) recipe: Recipe,
    /// With its last chunks.
    pub(super) work: Work,
}

/// A chunk that is not in the repository yet.
pub(super) struct Fresh {
    id: ChunkId,
    pub(super) bytes: Bytes,
}

/// The digests that nothing else needs.
pub(super) struct DigestLane {
    sha256: Context,
    md5: Option<md5::Md5>,
}

/// Cuts a stream and sorts out what is new.
pub(super) struct CutLane {
    inner: Arc<Inner>,
    whole: blake3::Hasher,
    cutter: Cutter,
    recipe: RecipeBuilder,
    pending: Pending,
}

impl DigestLane {
    pub(super) fn new(md5: bool) -> Self {
        Self { sha256: Context::new(&SHA256), md5: md5.then(md5::Md5::new) }
    }

    /// Takes all pieces. No thread is held while it waits for one, and none is given back while there are more: to wake another costs as
    /// much as a tenth of a piece.
    pub(super) async fn run(mut self, mut pieces: mpsc::Receiver<Bytes>) -> (Sha256, Option<Md5>) {
        while let Some(piece) = pieces.recv().await {
            (self, pieces) = blocking(move || {
                self.push(&piece);
                drop(piece);
                while let Ok(piece) = pieces.try_recv() {
                    self.push(&piece);
                }
                (self, pieces)
            })
            .await;
        }
        self.finish()
    }

    fn push(&mut self, piece: &Bytes) {
        self.sha256.update(piece);
        if let Some(md5) = &mut self.md5 {
            md5.update(piece);
        }
    }

    fn finish(self) -> (Sha256, Option<Md5>) {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.sha256.finish().as_ref());
        (Sha256(sha256), self.md5.map(|md5| Md5(md5.finalize().into())))
    }
}

impl CutLane {
    pub(super) fn new(inner: Arc<Inner>, pending: Pending, cut: Cut) -> Self {
        let (whole, cutter, recipe) = (blake3::Hasher::new(), Cutter::new(cut), RecipeBuilder::default());
        Self { inner, whole, cutter, recipe, pending }
    }

    /// Takes all pieces, and hands what is new to those who seal and pack it. Where they are behind, this is, and so whoever
    /// reads the stream.
    pub(super) async fn run(mut self, mut pieces: mpsc::Receiver<Bytes>, mut work: Work) -> Result<Chunked, Failure> {
        while let Some(piece) = pieces.recv().await {
            let fresh;
            (self, pieces, fresh) = blocking(move || {
                let mut fresh = self.push(&piece);
                drop(piece);
                // Of what is known there is nothing to hand on.
                while fresh.is_empty()
                    && let Ok(piece) = pieces.try_recv()
                {
                    fresh = self.push(&piece);
                }
                (self, pieces, fresh)
            })
            .await;
            work.begin(fresh);
            work.keep_within(super::WINDOW).await?;
        }
        let (address, recipe, fresh) = blocking(move || self.finish()).await;
        work.begin(fresh);
        Ok(Chunked { address, recipe, work })
    }

    fn push(&mut self, piece: &Bytes) -> Vec<Fresh> {
        let mut fresh = Vec::new();
        self.whole.update(piece);
        let Self { inner, cutter, recipe, pending, .. } = self;
        cutter.push(inner.keys.gear(), piece, |chunk| take(inner, pending, recipe, chunk, &mut fresh));
        fresh
    }

    fn finish(self) -> (Address, Recipe, Vec<Fresh>) {
        let Self { inner, whole, cutter, mut recipe, pending } = self;
        let mut fresh = Vec::new();
        cutter.finish(inner.keys.gear(), |chunk| take(&inner, &pending, &mut recipe, chunk, &mut fresh));
        let (recipe, _) = recipe.finish(|list| sort_out(&inner, &pending, list.into(), &mut fresh));
        (Address::from_digest(Digest::from_bytes(*whole.finalize().as_bytes())), recipe, fresh)
    }
}

fn take(inner: &Inner, pending: &Pending, recipe: &mut RecipeBuilder, chunk: Bytes, fresh: &mut Vec<Fresh>) {
    let chunk = sort_out(inner, pending, chunk, fresh);
    recipe.push(chunk, |list| sort_out(inner, pending, list.into(), fresh));
}

/// Names a chunk, and takes it where it is new.
fn sort_out(inner: &Inner, pending: &Pending, bytes: Bytes, fresh: &mut Vec<Fresh>) -> ChunkRef {
    let id = inner.keys.chunk_id(&bytes);
    let chunk = ChunkRef { id, len: bytes.len() as u32 };
    if !inner.state().rely_on(&id) && pending.insert(id) {
        fresh.push(Fresh { id, bytes });
    }
    chunk
}

/// Compresses and seals what is new, of some length together.
pub(super) fn seal(inner: &Inner, fresh: Vec<Fresh>, len: usize) -> PackBuilder {
    let mut sealed = PackBuilder::reusing(Vec::with_capacity(len / 2));
    inner.workshop.compress(|compressor| {
        for Fresh { id, bytes } in fresh {
            let chunk = ChunkRef { id, len: bytes.len() as u32 };
            sealed.seal(&inner.keys, compressor, chunk, &bytes);
        }
    });
    sealed
}
