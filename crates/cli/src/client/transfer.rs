//! Bodies that are too large to be held: sent and received part by part.

use std::io::Read;
use std::time::Duration;

use ureq::{BodyReader, SendBody};

use super::{ANSWER_TIMEOUT, Client, media_type};
use crate::failure::Failure;

/// How long the API may pause within an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// How long the API may work on a body once it has all of it: what was there before is cleared away, which on a slow disk
/// takes minutes where there was much.
const WORK: Duration = Duration::from_secs(15 * 60);

const BYTES: &str = "application/octet-stream";

impl Client {
    /// The body of an answer, as it arrives. Reading it fails where the connection ends before the body does.
    pub fn download(&self, path: &str) -> Result<BodyReader<'static>, Failure> {
        let request = self
            .dress(self.agent.get(self.url(path)), &[])
            .header("accept", BYTES)
            .config()
            .timeout_recv_body(None)
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(SILENCE))
            .build();
        let response = request.call().map_err(|error| self.not_reached(error))?;
        if response.status().is_success() && media_type(&response) == BYTES {
            return Ok(response.into_body().into_with_config().limit(u64::MAX).reader());
        }
        let status = response.status();
        let body = response.into_body().read_to_string().map_err(|error| self.not_reached(error))?;
        Err(self.refused(status, &body))
    }

    /// Sends what is read as a body, unless the API refuses before it wants any of it.
    pub fn upload(&self, path: &str, query: &[(&str, &str)], body: &mut dyn Read) -> Result<(), Failure> {
        let request = self
            .dress(self.agent.post(self.url(path)), query)
            .header("accept", "application/json")
            .header("expect", "100-continue")
            .content_type(BYTES)
            .config()
            .timeout_recv_response(Some(WORK))
            .build();
        self.answer(request.send(SendBody::from_reader(body))).map(|_| ())
    }
}
