//! HTTP to stores, for OpenDAL: hyper's client, on connections that acknowledge at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::BodyDataStream;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower::util::MapResponse;

/// A store that is there takes a connection within milliseconds, one on another continent within one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than what stores and the balancers before them keep a silent connection for.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that are kept while nobody uses them: as many as there are clients at a busy time, with their read-ahead.
const IDLE_CONNECTIONS: usize = 64;

type Connector = HttpsConnector<MapResponse<HttpConnector, fn(TokioIo<TcpStream>) -> Prompt>>;

/// Sends OpenDAL's requests.
pub struct Transport {
    client: Client<Connector, BufferBody>,
}

/// A connection that acknowledges what it receives at once.
///
/// Stores write the head of an answer and its body apart, and Nagle's algorithm keeps the body back until the head is
/// acknowledged (RFC 1122, 4.2.3.4), which Linux delays by 40 ms: a thousand times what a small read takes otherwise. The
/// store's side of it cannot be helped from here; this side can.
struct Prompt(TokioIo<TcpStream>);

/// The body of a request.
struct BufferBody(Buffer);

impl Transport {
    /// Fails where an endpoint with TLS is to be trusted by this machine's certificate authorities and there are none.
    pub fn new(with_tls: bool) -> io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let prompt: fn(_) -> _ = Prompt;
        let tcp = MapResponse::new(tcp, prompt);
        let provider = ring::default_provider();
        let connector = if with_tls {
            let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
            builder.https_only().enable_http1().wrap_connector(tcp)
        } else {
            let config = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp)
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Ok(Self { client })
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let uri = request.uri().clone();
        let failed = |error| passing("the request was not answered", error);
        let response = self.client.request(request.map(BufferBody)).await.map_err(failed)?;
        let (mut head, body) = response.into_parts();
        let len = head.headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        // Where OpenDAL looks for it when it tells of an error.
        head.extensions.insert::<Uri>(uri);
        let stream =
            BodyDataStream::new(body).map_ok(Buffer::from).map_err(|error| passing("the answer broke off", error));
        Ok(Response::from_parts(head, HttpBody::new(stream, len)))
    }
}

/// An error that a later attempt may not meet.
fn passing(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, what).set_source(error).set_temporary()
}

impl Body for BufferBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.next().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

impl Read for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            // Linux forgets it with every answer that is sent, so that it is said after every read. Without it all works.
            let _ = rustix::net::sockopt::set_tcp_quickack(self.0.inner(), true);
        }
        read
    }
}

impl Write for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, bytes)
    }
}

impl Connection for Prompt {
    fn connected(&self) -> Connected {
        self.0.inner().connected()
    }
}
