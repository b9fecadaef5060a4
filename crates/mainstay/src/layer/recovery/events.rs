//! Events of the journal as a stream of bytes: each its length (4 bytes, little-endian) and its encoding as it is stored.

use bytes::{Buf, Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use mainstay_dataplane::Source;
use mainstay_journal::{Journal, ReadError};
use mainstay_types::Sequence;

/// Events that are read at once.
const PAGE: u64 = 1000;
/// What no event is longer than, by far: more is not a length.
const LONGEST_EVENT: u32 = 16 << 20;

/// Why a stream of events is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    #[error("an event is {0} bytes long, which none is")]
    Length(u32),
    #[error("the last event is cut off")]
    CutOff,
}

/// The events of a journal after one, up to another.
pub(super) fn stream(journal: Journal, after: Sequence, to: Sequence) -> Source {
    let pages = stream::try_unfold(after, move |after| {
        let journal = journal.clone();
        async move {
            if after >= to {
                return Ok(None);
            }
            let events = journal.read(after, usize::try_from(PAGE.min(to - after)).unwrap_or(usize::MAX)).await?;
            let Some(last) = events.last().map(|event| event.sequence) else { return Ok(None) };
            let mut page = BytesMut::new();
            for event in events {
                let body = event.encode();
                page.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
                page.extend_from_slice(&body);
            }
            Ok::<_, ReadError>(Some((page.freeze(), last)))
        }
    });
    pages.map_err(Into::into).boxed()
}

/// Takes such a stream apart again.
#[derive(Default)]
pub(super) struct Events {
    rest: BytesMut,
}

impl Events {
    /// The events that are whole now that these bytes have come.
    pub fn take(&mut self, bytes: &Bytes) -> Result<Vec<Vec<u8>>, EventsError> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(length) = self.rest.first_chunk::<4>().map(|length| u32::from_le_bytes(*length)) {
            if length > LONGEST_EVENT {
                return Err(EventsError::Length(length));
            }
            if self.rest.len() - 4 < length as usize {
                break;
            }
            self.rest.advance(4);
            events.push(self.rest.split_to(length as usize).to_vec());
        }
        Ok(events)
    }

    /// Says whether the stream ended with an event.
    pub fn end(self) -> Result<(), EventsError> {
        if self.rest.is_empty() { Ok(()) } else { Err(EventsError::CutOff) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Events;

    #[test]
    fn events_come_back_however_the_bytes_are_cut() {
        let events: [&[u8]; 3] = [b"one", b"", b"three, which is longer"];
        let mut bytes = Vec::new();
        for event in events {
            bytes.extend_from_slice(&(event.len() as u32).to_le_bytes());
            bytes.extend_from_slice(event);
        }
        for cut in 1..=bytes.len() {
            let mut reader = Events::default();
            let parts = bytes.chunks(cut).map(|part| reader.take(&Bytes::copy_from_slice(part)).unwrap());
            let read: Vec<Vec<u8>> = parts.flatten().collect();
            assert_eq!(read, events, "{cut}");
            reader.end().unwrap();
        }
        let mut reader = Events::default();
        reader.take(&Bytes::copy_from_slice(&bytes[..bytes.len() - 1])).unwrap();
        assert!(reader.end().is_err());
        assert!(Events::default().take(&Bytes::from_static(&[0xff; 4])).is_err());
    }
}
