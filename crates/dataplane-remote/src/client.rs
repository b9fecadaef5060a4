//! The data plane at the other end of a socket.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use mainstay_dataplane::{
    Address, Body, ByteStream, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Inventory, Owner,
    Receipt, Serve, ServeError, Served, Source, SourceError, Stored, Trouble, Verified, Verify,
};
use minicbor::Decode;
use tokio::time::timeout;

use crate::ConnectError;
use crate::connection::{Connection, Connections, Lease, chain};
use crate::frame::{FrameWriter, Part};
use crate::message::{Call, Head, Refusal};

/// Entries of an inventory that one answer holds; longer pages are asked for in several.
pub(crate) const PAGE: u32 = 4096;

/// How long the daemon may take to say how it is.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// The data plane of a daemon. Clones share their connections, and make new ones as they are needed: a daemon that comes
/// back is found again by the next call.
#[derive(Clone)]
pub struct RemotePlane {
    connections: Arc<Connections>,
    /// What the backend called itself, for when it cannot.
    backend: Arc<str>,
}

/// How far a stream was sent.
enum Sent {
    Whole,
    /// The caller's stream broke off.
    Broken(SourceError),
    /// The daemon does not read any more.
    Refused,
}

impl RemotePlane {
    /// Connects to the daemon that listens on a path.
    pub async fn connect(path: &Path) -> Result<Self, ConnectError> {
        let connections = Connections::new(path);
        let mut connection = connections.connect().await?;
        let asked = async {
            connection.writer.message(&Call::Health).await?;
            connection.reader.answer::<Health>().await
        };
        let health = asked.await.map_err(|source| ConnectError::Silent { path: path.to_owned(), source })?;
        Ok(Self { connections, backend: health.backend.into() })
    }

    /// A call whose answer is all there is.
    async fn call<T: for<'b> Decode<'b, ()>>(&self, call: &Call) -> Result<T, Trouble> {
        let mut lease = self.connections.lease().await?;
        let answer = async {
            lease.connection.writer.message(call).await?;
            lease.connection.reader.answer().await
        };
        let answer = answer.await.map_err(lost)?;
        lease.give_back();
        Ok(answer)
    }
}

#[async_trait]
impl DataPlane for RemotePlane {
    async fn ingest_stream(&self, source: Source, hints: Hints) -> Result<Receipt, IngestError> {
        let mut lease = self.connections.lease().await?;
        let (answer, whole) = exchange(&mut lease.connection, source, hints).await?;
        // Where the daemon did not read to the end, the rest of the stream lies in the connection.
        if whole {
            lease.give_back();
        }
        received(answer)
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        let mut lease = self.connections.lease().await?;
        let answer = async {
            lease.connection.writer.message(&Call::Serve(request)).await?;
            lease.connection.reader.answer::<Result<Head, ServeError>>().await
        };
        let body = match answer.await.map_err(lost)? {
            Ok(Head { size, whole: Some(whole) }) => {
                lease.give_back();
                Served { size, body: Body::Whole(whole.into()) }
            }
            Ok(Head { size, whole: None }) => Served { size, body: Body::Stream(served(lease)) },
            Err(error) => {
                lease.give_back();
                return Err(error);
            }
        };
        Ok(body)
    }

    async fn verify_object(&self, request: Verify) -> Result<Verified, ServeError> {
        self.call::<Result<_, _>>(&Call::Verify(request)).await?
    }

    async fn delete_object(&self, request: Delete) -> Result<Deletion, DeleteError> {
        Ok(self.call::<Result<_, Trouble>>(&Call::Delete(request)).await??)
    }

    async fn backend_health(&self) -> Health {
        let answer = timeout(HEALTH_PATIENCE, self.call(&Call::Health)).await;
        let late = || Trouble::unavailable(format!("its daemon has said nothing for {HEALTH_PATIENCE:?}"));
        answer.map_err(|_| late()).flatten().unwrap_or_else(|trouble| Health {
            backend: self.backend.to_string(),
            trouble: Some(trouble.to_string()),
            contents: 0,
            stored_bytes: 0,
            free_bytes: None,
        })
    }
}

#[async_trait]
impl Inventory for RemotePlane {
    async fn contents(&self, owner: Owner, after: Option<Address>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        let mut contents: Vec<Stored> = Vec::new();
        loop {
            let after = contents.last().map(|stored| stored.address).or(after);
            let limit = u32::try_from(limit - contents.len()).unwrap_or(PAGE).min(PAGE);
            if limit == 0 {
                return Ok(contents);
            }
            let call = Call::Contents { owner, after, limit };
            let page = self.call::<Result<Vec<Stored>, Trouble>>(&call).await??;
            let end = page.len() < limit as usize;
            contents.extend(page);
            if end {
                return Ok(contents);
            }
        }
    }

    async fn reclaim(&self) -> Result<u64, Trouble> {
        self.call::<Result<_, _>>(&Call::Reclaim).await?
    }
}

/// Sends a stream and waits for the answer, and says whether all of the stream was sent.
async fn exchange(
    Connection { reader, writer }: &mut Connection,
    source: Source,
    hints: Hints,
) -> Result<(Result<Receipt, Refusal>, bool), IngestError> {
    writer.message(&Call::Ingest(hints)).await.map_err(lost)?;
    let mut answer = pin!(reader.answer());
    let sent = tokio::select! {
        // A daemon that refuses need not have read to the end; nobody goes on sending then.
        biased;
        refused = &mut answer => return Ok((refused.map_err(lost)?, false)),
        sent = send(source, writer) => sent,
    };
    match sent {
        Sent::Whole => Ok((answer.await.map_err(lost)?, true)),
        Sent::Refused => Ok((answer.await.map_err(lost)?, false)),
        Sent::Broken(error) => Err(IngestError::Source(error)),
    }
}

async fn send(mut source: Source, writer: &mut FrameWriter) -> Sent {
    while let Some(bytes) = source.next().await {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return Sent::Broken(error),
        };
        if writer.part(bytes).await.is_err() {
            return Sent::Refused;
        }
    }
    match writer.end(&()).await {
        Ok(()) => Sent::Whole,
        Err(_) => Sent::Refused,
    }
}

fn received(answer: Result<Receipt, Refusal>) -> Result<Receipt, IngestError> {
    answer.map_err(|refusal| match refusal {
        Refusal::Source => Trouble::unavailable("the stream did not reach its daemon whole").into(),
        Refusal::Mismatch(measure) => IngestError::Mismatch(measure),
        Refusal::Trouble(trouble) => trouble.into(),
    })
}

/// What is served after the answer. Dropped before its end, the connection goes with it.
fn served(lease: Lease) -> ByteStream {
    Box::pin(stream::try_unfold(Some(lease), |lease| async move {
        let Some(mut lease) = lease else { return Ok(None) };
        match lease.connection.reader.served_part::<Result<(), ServeError>>().await.map_err(lost)? {
            Part::Bytes(bytes) => Ok(Some((bytes, Some(lease)))),
            Part::End(end) => {
                lease.give_back();
                end.map(|()| None)
            }
        }
    }))
}

/// The connection broke off, or never was.
fn lost(error: io::Error) -> Trouble {
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            "its daemon has hung up".to_owned()
        }
        _ => format!("the connection to its daemon is lost: {}", chain(&error)),
    };
    Trouble::Unavailable { reason }
}
