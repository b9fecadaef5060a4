//! Streams of files that the engine's user can write, and of what is kept.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use mainstay_dataplane::{Source, SourceError};
use mainstay_engine::EngineError;
use mainstay_engine::recovery::{Archive, Kept, Part};
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

/// Reads a part of a backup. Where it is not what was kept it ends in an error: whoever keeps it looks at each of its chunks, this
/// at the whole, as BLAKE3 costs next to nothing beside writing it to files.
pub(super) async fn part(archive: &Archive, part: &Part) -> Result<Kept, EngineError> {
    let kept = archive.read(part).await?;
    let state = Some((kept, blake3::Hasher::new(), part.clone()));
    let verified = futures::stream::unfold(state, |state| async {
        let (mut kept, mut hasher, part) = state?;
        match kept.next().await {
            Some(Ok(piece)) => {
                hasher.update(&piece);
                Some((Ok(piece), Some((kept, hasher, part))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None if hasher.finalize().as_bytes() == part.address.digest().as_bytes() => None,
            None => {
                let reason = format!("part {} of the backup is not whole: it has another digest", part.name);
                Some((Err(EngineError::permanent(reason, "restore another backup")), None))
            }
        }
    });
    Ok(verified.boxed())
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
