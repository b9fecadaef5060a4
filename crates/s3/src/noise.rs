//! What of s3s's log an operator needs: the cause of an error that s3s makes by itself, which it tells nobody else.
//!
//! Everything else there is noise. Requests that are refused are lines that anybody could fill a disk with, some with their
//! whole body; answers are logged as they are, without a cause; and why one of ours failed has been logged where it was found.

use std::fmt::{self, Debug, Write};

use tracing::Event;
use tracing::field::{Field, Visit};

/// Filters of a log, as `tracing_subscriber::EnvFilter` reads them. What they let through [`is_noise`] tells apart.
pub const FILTERS: &str = "s3s::ops=error,s3s::http=off,s3s::service=off";

/// Where s3s logs each request that is not carried out.
pub const TARGET: &str = "s3s::ops";

/// How an error that s3s makes by itself begins. Ours have a message for the client.
const ITS_OWN: &str = "S3Error(Inner { code: InternalError, message: None";

/// Whether an event comes from s3s and says nothing that an operator needs.
pub fn is_noise(event: &Event<'_>) -> bool {
    if event.metadata().target() != TARGET {
        return false;
    }
    let mut cause = Cause::default();
    event.record(&mut cause);
    !cause.is_its_own
}

/// Looks for the error of an event.
#[derive(Default)]
struct Cause {
    is_its_own: bool,
}

/// What is left to be found of a beginning. Nothing is written behind it: an error may tell of a whole body.
struct Beginning(&'static str);

impl Visit for Cause {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // What it logs of the same error a second time has it under another name.
        if field.name() == "err" {
            let mut beginning = Beginning(ITS_OWN);
            let _ = write!(beginning, "{value:?}");
            self.is_its_own = beginning.0.is_empty();
        }
    }
}

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let len = text.len().min(self.0.len());
        match text.get(..len).and_then(|text| self.0.strip_prefix(text)) {
            Some(rest) if !rest.is_empty() => self.0 = rest,
            Some(_) => {
                self.0 = "";
                return Err(fmt::Error);
            }
            None => return Err(fmt::Error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use hyper::http::StatusCode;
    use s3s::access::{S3Access, S3AccessContext};
    use s3s::auth::SimpleAuth;
    use s3s::dto::{HeadBucketInput, HeadBucketOutput};
    use s3s::service::S3ServiceBuilder;
    use s3s::{Body, HttpRequest, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, SubscriberExt};
    use tracing_subscriber::{EnvFilter, Layer};

    /// Answers by the bucket that it is asked for.
    struct Answers;

    #[async_trait]
    impl S3 for Answers {
        async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
            // No header can have a line of its own in it.
            let region = (request.input.bucket == "cannot-be-written").then(|| "a\nb".to_owned());
            match request.input.bucket.as_str() {
                "is-not-there" => Err(S3ErrorCode::NoSuchBucket.into()),
                "fails" => Err(failure()),
                _ => Ok(S3Response::new(HeadBucketOutput { bucket_region: region, ..HeadBucketOutput::default() })),
            }
        }
    }

    #[async_trait]
    impl S3Access for Answers {
        async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
            match context.s3_path().get_bucket_name() {
                Some("fails-at-the-door") => Err(failure()),
                _ => Ok(()),
            }
        }
    }

    /// As ours are: the cause was logged, and the client gets a message.
    fn failure() -> S3Error {
        let mut error = S3Error::with_message(S3ErrorCode::InternalError, "We encountered an internal error.");
        error.set_source(Box::new(std::fmt::Error));
        error
    }

    /// Keeps what is no noise.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            if !super::is_noise(event) {
                self.0.lock().unwrap().push(format!("{event:?}"));
            }
        }
    }

    #[tokio::test]
    async fn only_causes_that_nobody_else_tells_are_heard_and_once() {
        let heard = Heard::default();
        let filter = EnvFilter::new(format!("{},info", super::FILTERS));
        let subscriber = tracing_subscriber::registry().with(filter).with(heard.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        let mut service = S3ServiceBuilder::new(Answers);
        service.set_auth(SimpleAuth::new());
        service.set_access(Answers);
        let service = service.build();
        for (bucket, status, lines) in [
            ("is-there", 200, 0),
            ("is-not-there", 404, 0),
            ("Is_no_name", 400, 0),
            ("fails", 500, 0),
            ("fails-at-the-door", 500, 0),
            ("cannot-be-written", 500, 1),
        ] {
            let mut request = HttpRequest::new(Body::empty());
            *request.method_mut() = hyper::Method::HEAD;
            *request.uri_mut() = format!("http://localhost/{bucket}").parse().unwrap();
            let answer = service.call(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::from_u16(status).unwrap(), "{bucket}");
            let heard = std::mem::take(&mut *heard.0.lock().unwrap());
            assert_eq!(heard.len(), lines, "{bucket}: {heard:?}");
            assert!(heard.iter().all(|line| line.contains("InvalidHeaderValue")), "{heard:?}");
        }
        tracing::error!("of others everything is heard");
        assert_eq!(heard.0.lock().unwrap().len(), 1);
    }
}
