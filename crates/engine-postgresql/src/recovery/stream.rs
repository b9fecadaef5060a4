//! Streams of what a program prints and of files that the engine's user can write.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use mainstay_dataplane::{Source, SourceError};
use rustix::fs::OFlags;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};

/// How much is read at once: enough that nobody waits for us, little enough that some of it may wait.
const READ_BYTES: usize = 512 << 10;

/// All that a reader gives, then what the end says.
pub(super) fn stream<R, E>(reader: R, end: E) -> Source
where
    R: AsyncRead + Send + Unpin + 'static,
    E: Future<Output = Result<(), SourceError>> + Send + 'static,
{
    let state = Some((reader, Box::pin(end)));
    Box::pin(futures::stream::try_unfold(state, |state| async {
        let Some((mut reader, end)) = state else { return Ok(None) };
        match read_piece(&mut reader).await {
            Ok(piece) if piece.is_empty() => end.await.map(|()| None),
            Ok(piece) => Ok(Some((piece, Some((reader, end))))),
            Err(error) => Err(error.into()),
        }
    }))
}

async fn read_piece(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    // A pipe gives little at a time: what is there is gathered, and less at the end only.
    while buffer.len() < buffer.capacity() {
        if reader.read_buf(&mut buffer).await? == 0 {
            break;
        }
    }
    Ok(buffer.freeze())
}

/// So many bytes of a file, from an offset on. It has them all, or the stream ends in an error.
pub(super) async fn file(path: &Path, offset: u64, length: u64) -> io::Result<Source> {
    let mut file = open_regular(path)?;
    file.seek(io::SeekFrom::Start(offset)).await?;
    let reader = file.take(length);
    Ok(stream(reader, async { Ok(()) }))
}

/// Opens a file that lies where the engine's user can write: what is no file or leads elsewhere is an error.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(File::from_std(file))
}
