//! MD5 piece by piece.

use mainstay_dataplane::Md5;
use md5::Digest as _;

pub(crate) struct Md5Hasher(md5::Md5);

impl Md5Hasher {
    pub(crate) fn new() -> Self {
        Self(md5::Md5::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Md5 {
        Md5(self.0.finalize().into())
    }
}
