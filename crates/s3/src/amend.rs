//! Where s3s answers otherwise than S3 does.

use bytes::Bytes;
use hyper::Response;
use hyper::header::CONTENT_TYPE;
use hyper::http::StatusCode;
use s3s::{Body, S3ErrorCode};

use crate::error::Failure;

/// An answer of s3s's as S3 gives it. `path` and `id` are those of the request.
pub fn amended(mut response: Response<Body>, path: &str, query: Option<&str>, id: &str) -> Response<Body> {
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
    } else if status.is_client_error() || status.is_server_error() {
        if is_failed_condition(&response) {
            let message = "Invalid according to Policy: Policy Condition failed";
            response = told(Failure::new(S3ErrorCode::AccessDenied, message));
        }
        complete_error(&mut response, path, id);
    } else if query.is_some_and(|query| query.split('&').any(|word| word.split('=').next() == Some("attributes"))) {
        unquote(&mut response);
    }
    response
}

/// A failure as an answer.
pub fn told(failure: Failure) -> Response<Body> {
    failure.into_s3().to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Whether a form is not what its policy asks for, which s3s takes for a malformed policy.
fn is_failed_condition(response: &Response<Body>) -> bool {
    let body = response.body().bytes().unwrap_or_default();
    let says = |text: &[u8]| body.windows(text.len()).any(|window| window == text);
    response.status() == StatusCode::BAD_REQUEST
        && says(b"<Code>InvalidPolicyDocument</Code>")
        && (says(b"<Message>Policy condition ") || says(b"<Message>Bucket in form field "))
}

/// Tells which request an error answers, and what it was about.
fn complete_error(response: &mut Response<Body>, path: &str, id: &str) {
    const END: &[u8] = b"</Error>";
    let Some(body) = response.body().bytes() else { return };
    let Some(start) = body.strip_suffix(END) else { return };
    let mut text = start.to_vec();
    // A path is percent-encoded, and of what is special in XML only these can stand in it.
    let path = path.replace('&', "&amp;").replace('\'', "&apos;");
    text.extend_from_slice(format!("<Resource>{path}</Resource><RequestId>{id}</RequestId>").as_bytes());
    text.extend_from_slice(END);
    *response.body_mut() = Body::from(Bytes::from(text));
}

/// The attributes of an object have the one ETag that stands without quotes.
fn unquote(response: &mut Response<Body>) {
    let Some(body) = response.body().bytes() else { return };
    let Ok(text) = std::str::from_utf8(&body) else { return };
    let (start, end) = ("<ETag>", "</ETag>");
    let Some((before, rest)) = text.split_once(start) else { return };
    let Some((etag, after)) = rest.split_once(end) else { return };
    let etag = etag.replace("&quot;", "").replace('"', "");
    *response.body_mut() = Body::from(format!("{before}{start}{etag}{end}{after}"));
}

#[cfg(test)]
mod tests {
    use hyper::Response;
    use s3s::Body;

    fn amended(status: u16, body: &str, query: Option<&str>) -> String {
        let response = Response::builder().status(status).body(Body::from(body.to_owned())).unwrap();
        let response = super::amended(response, "/a&b", query, "1");
        String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn answers_of_s3s() {
        let error = "<Error><Code>NoSuchKey</Code></Error>";
        let complete = "<Error><Code>NoSuchKey</Code><Resource>/a&amp;b</Resource><RequestId>1</RequestId></Error>";
        assert_eq!(amended(404, error, None), complete);
        assert_eq!(amended(304, error, None), "");
        let condition =
            "<Error><Code>InvalidPolicyDocument</Code><Message>Policy condition 'eq' failed</Message></Error>";
        assert!(amended(400, condition, None).contains("<Code>AccessDenied</Code>"));
        let attributes = "<A><ETag>&quot;0f-1&quot;</ETag></A>";
        assert_eq!(amended(200, attributes, Some("attributes")), "<A><ETag>0f-1</ETag></A>");
        assert_eq!(amended(200, attributes, Some("versions")), attributes);
    }
}
