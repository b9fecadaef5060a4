//! One pass over the bytes: address, hash tree, SHA-256, and MD5 where it is asked for.

use aws_lc_rs::digest::{Context, SHA256};
use mainstay_dataplane::{Address, Expect, Md5, Measure, Sha256};

use crate::Tree;
use crate::md5::Md5Hasher;
use crate::tree::TreeBuilder;

/// Bytes that all digests take before any takes more, so that the second and the third find them in the cache.
const STRIDE: usize = 64 * 1024;

/// What was found of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    pub tree: Tree,
    pub sha256: Sha256,
    /// Where it was asked for.
    pub md5: Option<Md5>,
}

/// Digests bytes on the caller's thread: for little content, or where the caller is a thread of its own.
pub struct Digester {
    tree: TreeBuilder,
    sha256: Sha256Hasher,
    md5: Option<Md5Hasher>,
}

/// SHA-256 piece by piece.
pub(crate) struct Sha256Hasher(Context);

/// Digests bytes that are all here.
pub fn digest(bytes: &[u8], md5: bool) -> Digests {
    let mut digester = Digester::new(md5);
    digester.update(bytes);
    digester.finish()
}

// === impl Digests ===

impl Digests {
    pub fn address(&self) -> Address {
        self.tree.address()
    }

    /// Of the content, in bytes.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Whether the content is what was said of it before it came. An MD5 digest that is expected must have been asked for.
    pub fn meet(&self, expect: &Expect) -> Result<(), Measure> {
        if expect.size.is_some_and(|size| size != self.size()) {
            return Err(Measure::Size);
        }
        if expect.sha256.is_some_and(|sha256| sha256 != self.sha256) {
            return Err(Measure::Sha256);
        }
        if expect.md5.is_some() && expect.md5 != self.md5 {
            return Err(Measure::Md5);
        }
        Ok(())
    }
}

// === impl Digester ===

impl Digester {
    pub fn new(md5: bool) -> Self {
        Self { tree: TreeBuilder::new(), sha256: Sha256Hasher::new(), md5: md5.then(Md5Hasher::new) }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        for stride in bytes.chunks(STRIDE) {
            self.tree.update(stride);
            self.sha256.update(stride);
            if let Some(md5) = &mut self.md5 {
                md5.update(stride);
            }
        }
    }

    pub fn finish(self) -> Digests {
        Digests { tree: self.tree.finish(), sha256: self.sha256.finish(), md5: self.md5.map(Md5Hasher::finish) }
    }
}

// === impl Sha256Hasher ===

impl Sha256Hasher {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256 {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        Sha256(digest)
    }
}
