//! Connections that nothing is asked on, which give way to others.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

/// All idle connections. A clone is the same.
#[derive(Clone, Default)]
pub struct Idle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Raised each time that a connection gets idle.
    moment: u64,
    /// By address, the longest idle first.
    waiting: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
}

/// A connection, which is idle but while it answers.
pub struct Connection {
    idle: Idle,
    ip: IpAddr,
    /// Since when it has been idle, or was before it answered.
    since: Mutex<u64>,
    end: Arc<Notify>,
}

/// The body of an answer. Its connection is idle again when it has been handed on.
pub struct Answering<B> {
    body: B,
    _busy: Busy,
}

struct Busy(Arc<Connection>);

// === impl Idle ===

impl Idle {
    /// A new connection, on which nothing has been asked yet.
    pub fn connection(&self, ip: IpAddr) -> Arc<Connection> {
        let connection = Connection { idle: self.clone(), ip, since: Mutex::new(0), end: Arc::default() };
        connection.rest();
        Arc::new(connection)
    }

    /// Ends the longest idle connection of the address that has most of them.
    pub fn end_one(&self) {
        let mut state = self.lock();
        let Some((ip, waiting)) = state.waiting.iter_mut().max_by_key(|(_, waiting)| waiting.len()) else { return };
        let ip = *ip;
        if let Some((_, end)) = waiting.pop_first() {
            end.notify_one();
        }
        if waiting.is_empty() {
            state.waiting.remove(&ip);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Connection ===

impl Connection {
    /// Resolves when the connection is to end.
    pub async fn ended(&self) {
        self.end.notified().await;
    }

    /// Lets the connection not be idle until the body that it answers with is handed on, or dropped.
    pub async fn answer<B, A>(self: Arc<Self>, answer: A) -> hyper::Response<Answering<B>>
    where
        A: Future<Output = hyper::Response<B>>,
    {
        self.work();
        let busy = Busy(self);
        answer.await.map(|body| Answering { body, _busy: busy })
    }

    fn rest(&self) {
        let mut state = self.idle.lock();
        state.moment += 1;
        let moment = state.moment;
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = moment;
        state.waiting.entry(self.ip).or_default().insert(moment, self.end.clone());
    }

    fn work(&self) {
        let mut state = self.idle.lock();
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = state.waiting.get_mut(&self.ip) {
            waiting.remove(&since);
            if waiting.is_empty() {
                state.waiting.remove(&self.ip);
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.work();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest();
    }
}

// === impl Answering ===

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::{Connection, Idle};

    async fn is_ended(connection: &Arc<Connection>) -> bool {
        tokio::select! {
            biased;
            () = connection.ended() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn the_longest_idle_of_the_address_with_most_gives_way() {
        let idle = Idle::default();
        let [one, many] = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        let oldest = idle.connection(one);
        let [first, second, third] = [(); 3].map(|()| idle.connection(many));
        // What answers is not idle, and is the newest afterwards.
        let answering = first.clone().answer(async { hyper::Response::new(()) }).await;
        idle.end_one();
        assert!(is_ended(&second).await && !is_ended(&first).await && !is_ended(&oldest).await);
        drop(answering);
        idle.end_one();
        assert!(is_ended(&third).await && !is_ended(&first).await);
        drop((first, second, third));
        idle.end_one();
        assert!(is_ended(&oldest).await);
        idle.end_one();
        drop(oldest);
        assert!(idle.lock().waiting.is_empty());
    }
}
