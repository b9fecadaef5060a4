//! The beginning of a form, as it was sent. s3s reads forms, and does not tell all that is in them.

/// Bytes of a form that are remembered: all fields that s3s lets in, and what stands between them.
pub const HEAD_BYTES: usize = 256 << 10;

/// What stands in a form before its file, and the file's name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FormHead {
    fields: Vec<(String, String)>,
    pub filename: Option<String>,
}

impl FormHead {
    /// Reads a form (RFC 7578) that s3s has read before, so that nothing more is made of what it would refuse.
    pub fn parse(form: &[u8], content_type: &str) -> Self {
        let mut head = Self::default();
        let Some(boundary) = boundary(content_type) else { return head };
        let delimiter = format!("--{boundary}");
        let mut rest = form;
        while let Some((_, part)) = split(rest, delimiter.as_bytes()) {
            let Some((headers, body)) = split(part, b"\r\n\r\n") else { break };
            let headers = String::from_utf8_lossy(headers);
            let Some(name) = parameter(&headers, "name") else { break };
            if name.eq_ignore_ascii_case("file") {
                head.filename = parameter(&headers, "filename").map(str::to_owned);
                break;
            }
            let Some((value, _)) = split(body, format!("\r\n{delimiter}").as_bytes()) else { break };
            head.fields.push((name.to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned()));
            rest = &body[value.len() + 2..];
        }
        head
    }

    /// A field by its lowercase name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let named = |part: &'static str| {
        move |text: &str| text.get(..part.len()).is_some_and(|start| start.eq_ignore_ascii_case(part))
    };
    let is_boundary = named("boundary=");
    let value = content_type.split(';').map(str::trim).find(|part| is_boundary(part))?;
    Some(value["boundary=".len()..].trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

/// The value of `name="value"` in the headers of a part.
fn parameter<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    let start = headers.to_ascii_lowercase().find("content-disposition:")?;
    let line = headers.get(start..)?.lines().next()?;
    let wanted = format!("{name}=\"");
    let parts = line.split(';').map(str::trim);
    parts.filter_map(|part| part.strip_prefix(wanted.as_str())).find_map(|value| value.split('"').next())
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..place], &bytes[place + at.len()..]))
}

#[cfg(test)]
mod tests {
    use super::FormHead;

    #[test]
    fn fields_before_the_file_and_its_name() {
        let form = b"--x\r\nContent-Disposition: form-data; name=\"ACL\"\r\n\r\nprivate\r\n\
                     --x\r\nContent-Disposition: form-data; name=\"tagging\"\r\n\r\n<a>\r\n</a>\r\n\
                     --x\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b\"\r\n\r\n\
                     --x\r\nContent-Disposition: form-data; name=\"acl\"\r\n\r\nlater\r\n--x--\r\n";
        for content_type in ["multipart/form-data; boundary=x", "multipart/form-data; charset=utf-8; Boundary=\"x\""] {
            let head = FormHead::parse(form, content_type);
            assert_eq!(head.field("acl"), Some("private"));
            assert_eq!(head.field("tagging"), Some("<a>\r\n</a>"));
            assert_eq!(head.filename.as_deref(), Some("a b"));
        }
        for cut in 0..form.len() {
            FormHead::parse(&form[..cut], "multipart/form-data; boundary=x");
        }
        assert_eq!(FormHead::parse(form, "multipart/form-data"), FormHead::default());
    }
}
