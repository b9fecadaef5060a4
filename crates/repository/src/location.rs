//! Where a repository lies.

use std::path::PathBuf;

use url::Url;

/// A place for a repository, from `/abs/path`, `file:///path`, `s3://bucket/prefix?endpoint=URL&region=NAME`,
/// `webdav://host[:port]/path`, `webdavs://…` or `sftp://[user@]host[:port]/path`. No credentials are in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    Directory(PathBuf),
    S3 {
        bucket: String,
        /// Without slashes around it.
        prefix: String,
        /// Such as `https://s3.example.org`.
        endpoint: String,
        region: String,
    },
    WebDav {
        tls: bool,
        /// The host, and the port where it is not the usual one.
        authority: String,
        /// Absolute.
        path: String,
    },
    Sftp {
        user: Option<String>,
        host: String,
        port: u16,
        /// Absolute.
        path: String,
    },
}

/// Text that is no location. A password in it is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} is no location of a repository: {reason}")]
pub struct InvalidLocation {
    text: String,
    reason: String,
}

/// What stores that know no regions are asked for.
const ANY_REGION: &str = "us-east-1";

const SSH_PORT: u16 = 22;

/// The longest text that is looked at.
const LONGEST_TEXT: usize = 4096;

impl std::str::FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = parse(text);
        parsed.map_err(|reason| InvalidLocation { text: harmless(text), reason })
    }
}

fn parse(text: &str) -> Result<Location, String> {
    if text.len() > LONGEST_TEXT {
        return Err(format!("it is longer than {LONGEST_TEXT} characters"));
    }
    if text.starts_with('/') {
        return directory(text);
    }
    let forms =
        "write /PATH, file:///PATH, s3://BUCKET/PREFIX?endpoint=URL, webdavs://HOST/PATH or sftp://USER@HOST/PATH";
    let url = Url::parse(text).map_err(|error| format!("{error}; {forms}"))?;
    if url.password().is_some() {
        return Err("it carries a password; take that out, and give it with the credentials".into());
    }
    if url.fragment().is_some() {
        return Err("it has a part after #; write that character as %23".into());
    }
    match url.scheme() {
        "file" => match url.to_file_path() {
            Ok(path) => directory(path.to_str().ok_or("its path is not UTF-8")?),
            Err(()) => Err("it names another machine; write file:///PATH".into()),
        },
        "s3" => s3(&url),
        "webdav" | "webdavs" => web_dav(&url),
        "sftp" => sftp(&url),
        scheme => Err(format!("{scheme}:// is not known; {forms}")),
    }
}

fn directory(path: &str) -> Result<Location, String> {
    let path: PathBuf = PathBuf::from(path).components().collect();
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err("its path goes up by ..; write where it leads".into());
    }
    if path.parent().is_none() {
        return Err("it is the root of the file system; name a directory below it".into());
    }
    Ok(Location::Directory(path))
}

fn s3(url: &Url) -> Result<Location, String> {
    no_user(url)?;
    let bucket = url.host_str().filter(|bucket| !bucket.is_empty()).ok_or("it names no bucket")?.to_owned();
    let (mut endpoint, mut region) = (None, ANY_REGION.to_owned());
    for (name, value) in url.query_pairs() {
        match &*name {
            "endpoint" => endpoint = Some(value.into_owned()),
            "region" => region = value.into_owned(),
            name => return Err(format!("{name} is no setting of it; there are endpoint and region")),
        }
    }
    let endpoint = endpoint.ok_or("it names no endpoint; add ?endpoint=https://HOST")?;
    let parsed = Url::parse(&endpoint).map_err(|error| format!("its endpoint is no URL: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.password().is_some() || !parsed.username().is_empty() {
        return Err("its endpoint is not of the form https://HOST or http://HOST:PORT".into());
    }
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    Ok(Location::S3 { bucket, prefix: path_of(url)?.trim_matches('/').to_owned(), endpoint, region })
}

fn web_dav(url: &Url) -> Result<Location, String> {
    no_user(url)?;
    no_query(url)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it names no host")?;
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(Location::WebDav { tls: url.scheme() == "webdavs", authority, path: absolute(url)? })
}

fn sftp(url: &Url) -> Result<Location, String> {
    no_query(url)?;
    let host = url.host_str().filter(|host| !host.is_empty() && !host.starts_with('-')).ok_or("it names no host")?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let user = match url.username() {
        "" => None,
        user if plain(user) && !user.starts_with('-') => Some(user.to_owned()),
        _ => return Err("its user has other characters than letters, digits, '.', '_' and '-'".into()),
    };
    let path = absolute(url)?;
    if path == "/" {
        return Err("it names no path; add the repository's, from the root of the server".into());
    }
    Ok(Location::Sftp { user, host: host.to_owned(), port: url.port().unwrap_or(SSH_PORT), path })
}

fn no_user(url: &Url) -> Result<(), String> {
    match url.username() {
        "" => Ok(()),
        _ => Err("it names a user; take that out, and give it with the credentials".into()),
    }
}

fn no_query(url: &Url) -> Result<(), String> {
    match url.query() {
        None => Ok(()),
        Some(_) => Err("it has settings after a question mark, of which it takes none".into()),
    }
}

fn absolute(url: &Url) -> Result<String, String> {
    Ok(format!("/{}", path_of(url)?.trim_matches('/')))
}

/// Decoded: what stands in a URL as %20 is a space.
fn path_of(url: &Url) -> Result<String, String> {
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8();
    let path = path.map_err(|_| "its path is not UTF-8")?;
    if path.chars().any(char::is_control) || path.split('/').any(|part| part == "..") {
        return Err("its path has control characters or goes up by ..".into());
    }
    Ok(path.into_owned())
}

/// As much of a text as may be repeated: what stands between `//` and the last `@` may be a password.
fn harmless(text: &str) -> String {
    let shown: String = match (text.find("//"), text.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}…{}", &text[..start + 2], &text[end..]),
        (None, Some(end)) => format!("…{}", &text[end..]),
        _ => text.to_owned(),
    };
    format!("{:?}", shown.chars().take(200).collect::<String>())
}

/// As it is parsed again.
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let escaped = |path: &str| {
            const KEPT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
                .add(b' ')
                .add(b'#')
                .add(b'?')
                .add(b'%')
                .add(b'"')
                .add(b'<')
                .add(b'>')
                .add(b'`');
            percent_encoding::utf8_percent_encode(path, KEPT).to_string()
        };
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, prefix, endpoint, region } => {
                let settings: String = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("endpoint", endpoint)
                    .append_pair("region", region)
                    .finish();
                write!(f, "s3://{bucket}/{}?{settings}", escaped(prefix))
            }
            Self::WebDav { tls, authority, path } => {
                write!(f, "webdav{}://{authority}{}", if *tls { "s" } else { "" }, escaped(path))
            }
            Self::Sftp { user, host, port, path } => {
                f.write_str("sftp://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                f.write_str(host)?;
                if *port != SSH_PORT {
                    write!(f, ":{port}")?;
                }
                f.write_str(&escaped(path))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Location;

    #[test]
    fn locations_are_read_and_written() {
        for (text, written) in [
            ("/srv/backup", "/srv/backup"),
            ("/srv//backup/", "/srv/backup"),
            ("file:///srv/my%20backup", "/srv/my backup"),
            (
                "s3://bucket/a/b/?endpoint=http://127.0.0.1:3900&region=garage",
                "s3://bucket/a/b?endpoint=http%3A%2F%2F127.0.0.1%3A3900&region=garage",
            ),
            (
                "s3://bucket?endpoint=https://s3.example.org/",
                "s3://bucket/?endpoint=https%3A%2F%2Fs3.example.org&region=us-east-1",
            ),
            ("webdav://nas:8080/remote.php/dav/files/me", "webdav://nas:8080/remote.php/dav/files/me"),
            ("webdavs://cloud.example.org/a%20b/", "webdavs://cloud.example.org/a%20b"),
            ("sftp://me@nas/srv/backup", "sftp://me@nas/srv/backup"),
            ("sftp://nas:2222/srv/backup", "sftp://nas:2222/srv/backup"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), written);
            assert_eq!(written.parse::<Location>().unwrap(), location);
        }
    }

    #[test]
    fn what_is_no_location_is_refused_with_the_remedy() {
        for (text, word) in [
            ("backup", "write /PATH"),
            ("/", "below it"),
            ("/srv/../etc", ".."),
            ("ftp://host/x", "not known"),
            ("s3://bucket/x", "?endpoint="),
            ("s3://bucket/x?endpoint=nas", "endpoint"),
            ("s3://bucket/x?endpoint=http://h&color=red", "color"),
            ("s3:///x?endpoint=http://h", "bucket"),
            ("webdavs://me@host/x", "credentials"),
            ("webdavs://host/x?y=1", "none"),
            ("sftp://host", "path"),
            ("sftp://-oProxyCommand=x/path", ""),
            ("sftp://-a@host/path", "user"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in ["sftp://me:hunter2@host/x", "webdavs://me:hunter2@host/x", "s3://k:hunter2@b/x", "me:hunter2@host"]
        {
            let error = text.parse::<Location>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
