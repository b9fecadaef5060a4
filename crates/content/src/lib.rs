//! What content is made of, wherever it lies: digests, the hash tree, compressed and encrypted forms.
//!
//! ```text
//! in:   source -> Pieces -> Pipeline (or `digest` and `encode` for little content) -> stored bytes, Header
//! out:  Header -> Reader -> which stored bytes to read -> open: decoded, decrypted, verified
//! ```
//!
//! Nothing here knows a file or a socket. An implementation of the data plane decides where the stored bytes and the
//! [`Header`] lie; this crate decides what is in them, and that nothing which is not what was stored ever comes out.

mod block;
mod buffer;
mod damage;
mod digest;
mod form;
mod header;
mod md5;
mod pieces;
mod pipeline;
mod reader;
mod table;
mod tree;

pub use block::{Encoder, encode};
pub use buffer::{Buffer, BufferPool, PAGE};
pub use damage::Damage;
pub use digest::{Digester, Digests, digest};
pub use form::{Form, Seal};
pub use header::Header;
pub use pieces::Pieces;
pub use pipeline::{Kept, Pipeline, Sink};
pub use reader::{Piece, Reader};
pub use table::Table;
pub use tree::{GROUP_LEN, Tree};
