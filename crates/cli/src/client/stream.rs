//! Server-sent events (WHATWG HTML, section 9.2), of which the API uses `id` and `data`.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use ureq::BodyReader;

use super::{ANSWER_TIMEOUT, Client, media_type};
use crate::failure::Failure;

/// How long nothing at all may come before the connection is taken for dead; the API sends a comment far more often.
const SILENCE: Duration = Duration::from_secs(60);

/// The longest line of a stream: one event of the journal.
const LONGEST_LINE: u64 = 4 << 20;

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub id: Option<String>,
    pub data: String,
}

/// A stream of events that is being read.
pub(crate) struct Stream<R = BodyReader<'static>> {
    lines: BufReader<R>,
}

impl Client {
    /// Follows a list from a cursor on.
    pub fn follow(&self, path: &str, after: &str) -> Result<Stream, Failure> {
        let request = self
            .dress(self.agent.get(self.url(path)), &[("after", after)])
            .header("accept", "text/event-stream")
            .config()
            .timeout_recv_body(None)
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(SILENCE))
            .build();
        let response = request.call().map_err(|error| self.not_reached(error))?;
        if response.status().is_success() && media_type(&response) == "text/event-stream" {
            return Ok(Stream::new(response.into_body().into_with_config().limit(u64::MAX).reader()));
        }
        let status = response.status();
        let body = response.into_body().read_to_string().map_err(|error| self.not_reached(error))?;
        Err(self.refused(status, &body))
    }
}

// === impl Stream ===

impl<R: Read> Stream<R> {
    pub fn new(reader: R) -> Self {
        Self { lines: BufReader::new(reader) }
    }
}

/// The events until the connection ends, for whatever reason: the caller follows anew from the last one it has.
impl<R: Read> Iterator for Stream<R> {
    type Item = Received;

    fn next(&mut self) -> Option<Received> {
        let (mut id, mut data) = (None, None::<String>);
        loop {
            let mut line = String::new();
            let read = (&mut self.lines).take(LONGEST_LINE).read_line(&mut line);
            // A line without its end was cut off, and so was the event that it belongs to.
            if !matches!(read, Ok(length) if length > 0) || !line.ends_with('\n') {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                match data.take() {
                    Some(data) => return Some(Received { id, data }),
                    None => continue,
                }
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => id = Some(value.to_owned()),
                "data" => match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => data = Some(value.to_owned()),
                },
                // Comments begin with a colon; `event` and `retry` say nothing that is needed here.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Received, Stream};

    #[test]
    fn events_are_what_stands_between_empty_lines() {
        let text = ": hello\n\nid: 1\ndata: {\"a\":1}\n\nevent: x\r\nid:2\r\ndata: one\r\ndata: two\r\n\r\n\n\nid: 3\ndata: cut";
        let events: Vec<Received> = Stream::new(text.as_bytes()).collect();
        let event = |id: &str, data: &str| Received { id: Some(id.into()), data: data.into() };
        assert_eq!(events, [event("1", "{\"a\":1}"), event("2", "one\ntwo")]);
    }
}
