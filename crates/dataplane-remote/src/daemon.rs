//! What the daemon does with its connections.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use mainstay_dataplane::{
    Body, DataPlane, DeleteError, Health, Hints, IngestError, Inventory, Serve, ServeError, Served, Source, SourceError,
};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::PAGE;
use crate::frame::{FrameReader, FrameWriter, HEARTBEAT, Part};
use crate::listener::Listener;
use crate::message::{Call, Head, Refusal, VERSION};
use crate::peer;

/// Connections at the same time; more wait until one of them ends. At two parts of a stream each they fit in memory.
const CONNECTIONS: usize = 1024;

/// How long a client may take to greet.
const GREETING: Duration = Duration::from_secs(10);

/// How long calls may go on once the daemon stops.
const DRAIN: Duration = Duration::from_secs(10);

/// How long to wait after the operating system had no connection to give, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most content that is served in the answer itself. It leaves room for the rest of a message.
const WHOLE_LIMIT: usize = 1 << 20;

#[derive(Clone)]
struct Daemon {
    plane: Arc<dyn DataPlane>,
    inventory: Arc<dyn Inventory>,
}

/// A client's connection. The source of an ingest reads from it, which may outlive the call by a moment.
struct Client {
    reader: Arc<Mutex<FrameReader>>,
    writer: FrameWriter,
}

/// Whether a connection can take the next call.
enum Next {
    Call,
    HangUp,
}

/// Serves a data plane until it is to stop. Calls that are going on then may end within some seconds.
pub async fn serve(
    listener: Listener,
    plane: Arc<dyn DataPlane>,
    inventory: Arc<dyn Inventory>,
    stop: impl Future<Output = ()>,
) {
    let daemon = Daemon { plane, inventory };
    let (stopping, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut clients = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let place = places.clone().acquire_owned();
        let accepted = async { (place.await, listener.socket.accept().await) };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            // What has ended is taken notice of, or it would pile up.
            Some(_) = clients.join_next() => continue,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let client = daemon.clone().client(stream, stopped.clone());
                clients.spawn(async move {
                    client.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the data plane cannot take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let drained = timeout(DRAIN, async { while clients.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(
            calls = clients.len(),
            "calls of the data plane were broken off: they had not ended in {DRAIN:?}"
        );
    }
}

impl Daemon {
    async fn client(self, stream: UnixStream, stopped: watch::Receiver<bool>) {
        match peer::uid(&stream) {
            Ok(uid) if peer::is_trusted(uid) => {}
            Ok(uid) => return tracing::warn!(uid, "a stranger was turned away from the data plane's socket"),
            Err(error) => return tracing::warn!(%error, "who connects to the data plane's socket cannot be told"),
        }
        let (reader, writer) = stream.into_split();
        let reader = Arc::new(Mutex::new(FrameReader::new(reader)));
        let client = Client { reader, writer: FrameWriter::new(writer) };
        match client.run(&self, stopped).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%error, "a client of the data plane made no sense, and was hung up on");
            }
            Err(error) => tracing::debug!(%error, "a client of the data plane has hung up"),
        }
    }
}

impl Client {
    async fn run(mut self, daemon: &Daemon, mut stopped: watch::Receiver<bool>) -> io::Result<()> {
        let Ok(greeting) = timeout(GREETING, self.lock()?.message::<u32>()).await else { return Ok(()) };
        if greeting?.is_none() {
            return Ok(());
        }
        // A client of another version finds that out from this.
        self.writer.message(&VERSION).await?;
        loop {
            let mut reader = self.lock()?;
            let call = tokio::select! {
                call = reader.message() => call?,
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            };
            drop(reader);
            let Some(call) = call else { return Ok(()) };
            if let Next::HangUp = self.answer(daemon, call).await? {
                return Ok(());
            }
        }
    }

    async fn answer(&mut self, daemon: &Daemon, call: Call) -> io::Result<Next> {
        let Daemon { plane, inventory } = daemon;
        match call {
            Call::Ingest(hints) => return self.ingest(&**plane, hints).await,
            Call::Serve(request) => self.serve(&**plane, request).await?,
            Call::Verify(request) => {
                let answer = self.work(plane.verify_object(request)).await?;
                self.writer.message(&answer).await?;
            }
            Call::Delete(request) => {
                let answer = self.work(plane.delete_object(request)).await?;
                self.writer.message(&answer.map_err(|DeleteError::Trouble(trouble)| trouble)).await?;
            }
            Call::Health => {
                let answer: Health = self.work(plane.backend_health()).await?;
                self.writer.message(&answer).await?;
            }
            Call::Contents { owner, after, limit } => {
                let limit = limit.min(PAGE) as usize;
                let answer = self.work(inventory.contents(owner, after, limit)).await?;
                self.writer.message(&answer).await?;
            }
            Call::Reclaim => {
                let answer = self.work(inventory.reclaim()).await?;
                self.writer.message(&answer).await?;
            }
        }
        Ok(Next::Call)
    }

    async fn ingest(&mut self, plane: &dyn DataPlane, hints: Hints) -> io::Result<Next> {
        let mut reader = self.reader.clone().try_lock_owned().map_err(io::Error::other)?;
        reader.begin_stream();
        let answer = self.work(plane.ingest_stream(source(reader), hints)).await?;
        let answer = answer.map_err(|error| match error {
            IngestError::Source(_) => Refusal::Source,
            IngestError::Mismatch(measure) => Refusal::Mismatch(measure),
            IngestError::Trouble(trouble) => Refusal::Trouble(trouble),
        });
        self.writer.message(&answer).await?;
        // A stream that was not read to its end leaves no place for the next call.
        let ended = self.reader.try_lock().is_ok_and(|reader| !reader.is_streaming());
        Ok(if ended { Next::Call } else { Next::HangUp })
    }

    async fn serve(&mut self, plane: &dyn DataPlane, request: Serve) -> io::Result<()> {
        let served = match self.work(plane.serve_object(request)).await? {
            Ok(served) => served,
            Err(error) => return self.writer.message(&Err::<Head, _>(error)).await,
        };
        let Served { size, body } = served;
        let mut stream = match body {
            Body::Whole(whole) if whole.len() <= WHOLE_LIMIT => {
                return self.writer.message(&Ok::<_, ServeError>(Head { size, whole: Some(whole.into()) })).await;
            }
            Body::Whole(whole) => stream::iter([Ok(whole)]).boxed(),
            Body::Stream(stream) => stream,
        };
        self.writer.message(&Ok::<_, ServeError>(Head { size, whole: None })).await?;
        let end = loop {
            match self.work(stream.next()).await? {
                Some(Ok(bytes)) => self.writer.part(bytes).await?,
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        self.writer.end(&end).await
    }

    /// Lets the client know, while something goes on, that it does; where the client has gone, it is given up.
    async fn work<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        let mut work = pin!(work);
        loop {
            match timeout(HEARTBEAT, &mut work).await {
                Ok(done) => return Ok(done),
                Err(_) => self.writer.heartbeat().await?,
            }
        }
    }

    fn lock(&self) -> io::Result<OwnedMutexGuard<FrameReader>> {
        self.reader.clone().try_lock_owned().map_err(io::Error::other)
    }
}

/// What a client sends after its call. A client that hangs up is a source that breaks off.
fn source(reader: OwnedMutexGuard<FrameReader>) -> Source {
    Box::pin(stream::try_unfold(reader, |mut reader| async move {
        match reader.part::<()>().await.map_err(SourceError::from)? {
            Part::Bytes(bytes) => Ok(Some((bytes, reader))),
            Part::End(()) => Ok(None),
        }
    }))
}
