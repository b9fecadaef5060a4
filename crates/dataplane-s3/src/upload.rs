//! Data on its way into the store, segment by segment.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_content::Sink;
use mainstay_dataplane::Address;
use opendal::Buffer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::in_use::Use;
use crate::inventory::Intent;
use crate::keys::DataId;
use crate::plane::Inner;
use crate::store::Condition;

/// Bytes of a segment: much against the cost of a request, little against memory and against what is sent again after a
/// failure.
pub(crate) const SEGMENT_LEN: usize = 4 * 1024 * 1024;

/// Segments of one stream that are under way at a time, beside the one being filled: the store is busy while the next
/// bytes are hashed.
const SEGMENTS_UNDER_WAY: usize = 2;

/// Data that nothing refers to yet. Dropped before it is sealed, it is removed.
pub(crate) struct Upload {
    plane: Arc<Inner>,
    /// None when it is sealed or given up.
    data: Option<Use>,
    segment: Vec<Bytes>,
    segment_len: usize,
    under_way: JoinSet<Result<(), Failure>>,
    segments: u64,
    len: u64,
}

/// Data that lies in the store in full, and that nobody removes while this is there.
pub(crate) struct Uploaded(Use);

/// The end of the pipeline that hashes and encodes: it hands on to the upload, at most one piece ahead of it.
pub(crate) struct ToUpload(mpsc::Sender<Bytes>);

/// The upload has ended, and its own error says why.
#[derive(Debug)]
pub(crate) struct UploadEnded;

impl Upload {
    pub(crate) async fn begin(plane: &Arc<Inner>) -> Result<Self, Failure> {
        let data = plane.in_use.begin(DataId::draw());
        plane.note(data.data(), &Intent::Writing).await?;
        Ok(Self {
            plane: Arc::clone(plane),
            data: Some(data),
            segment: Vec::new(),
            segment_len: 0,
            under_way: JoinSet::new(),
            segments: 0,
            len: 0,
        })
    }

    /// Takes all that comes, until the sender is gone.
    pub(crate) async fn take(&mut self, mut stored: mpsc::Receiver<Bytes>) -> Result<(), Failure> {
        while let Some(mut bytes) = stored.recv().await {
            while !bytes.is_empty() {
                let now = bytes.split_to(bytes.len().min(SEGMENT_LEN - self.segment_len));
                self.segment_len += now.len();
                self.segment.push(now);
                if self.segment_len == SEGMENT_LEN {
                    self.send().await?;
                }
            }
        }
        if self.segment_len > 0 {
            self.send().await?;
        }
        while let Some(sent) = self.under_way.join_next().await {
            sent_of(sent)?;
        }
        Ok(())
    }

    /// Writes the header, says what the data is of, and ends.
    pub(crate) async fn seal(mut self, address: Address, header: Vec<u8>) -> Result<Uploaded, Failure> {
        let id = self.id();
        let len = self.len + header.len() as u64;
        let intent = Intent::Publishing(address);
        let header_key = id.header();
        let header = self.plane.store.put(&header_key, header, Condition::None);
        tokio::try_join!(header, self.plane.note(id, &intent))?;
        self.plane.census.add(0, len as i64);
        Ok(Uploaded(self.data.take().expect("an upload is sealed once")))
    }

    /// Removes what has been written. What is still under way is waited for, so that nothing comes after.
    pub(crate) async fn give_up(mut self) {
        while self.under_way.join_next().await.is_some() {}
        if let Some(data) = self.data.take() {
            remove(&self.plane, &data, self.segments, true).await;
        }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        while self.under_way.len() >= SEGMENTS_UNDER_WAY
            && let Some(sent) = self.under_way.join_next().await
        {
            sent_of(sent)?;
        }
        let body = Buffer::from(std::mem::take(&mut self.segment));
        let key = self.id().segment(self.segments);
        self.segments += 1;
        self.len += self.segment_len as u64;
        self.segment_len = 0;
        let store = Arc::clone(&self.plane.store);
        self.under_way.spawn(async move { store.put(&key, body, Condition::None).await });
        Ok(())
    }

    fn id(&self) -> DataId {
        self.data.as_ref().expect("an upload that goes on has its data").data()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(data), Ok(runtime)) = (self.data.take(), tokio::runtime::Handle::try_current()) else { return };
        let (plane, segments) = (Arc::clone(&self.plane), self.segments);
        self.under_way.abort_all();
        // A request that was broken off may still be carried out, so that the intent stays.
        runtime.spawn(async move { remove(&plane, &data, segments, false).await });
    }
}

/// Removes data that was never published; and the intent, where nothing can come after.
async fn remove(plane: &Inner, data: &Use, segments: u64, certain: bool) {
    let id = data.data();
    let mut keys: Vec<String> = (0..segments).map(|number| id.segment(number)).collect();
    keys.push(id.header());
    match plane.store.delete(&keys).await {
        Ok(()) if certain => plane.forget_intent(id).await,
        Ok(()) => {}
        Err(failure) => {
            tracing::warn!(data = %id, ?failure, "what is left of a stream stays in the object store until it is reclaimed")
        }
    }
}

impl Uploaded {
    pub(crate) fn data(&self) -> DataId {
        self.0.data()
    }
}

impl ToUpload {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }
}

impl Sink for ToUpload {
    type Error = UploadEnded;

    fn write(&mut self, stored: Bytes) -> Result<(), UploadEnded> {
        if stored.is_empty() {
            return Ok(());
        }
        self.0.blocking_send(stored).map_err(|_| UploadEnded)
    }
}

fn sent_of(sent: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    sent.unwrap_or_else(|error| Err(Failure::Unavailable(format!("a request was broken off: {error}"))))
}
