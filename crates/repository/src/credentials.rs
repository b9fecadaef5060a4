//! What a location asks for before it lets anybody in. It never stands in the location's URL.

use std::path::PathBuf;

use secrecy::SecretString;

/// Who one is to a location.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// For directories, and for servers that ask for nothing.
    #[default]
    None,
    /// For S3.
    AccessKey { id: String, secret: SecretString },
    /// For WebDAV; for Nextcloud it is best an app password.
    Password { user: String, password: SecretString },
    /// For SFTP: a private key that OpenSSH reads. Without one the keys of OpenSSH's agent and configuration count.
    KeyFile(PathBuf),
}
