//! How credentials reach a consumer: variables, a document, a URI, or files after the Service Binding specification.

mod directory;
mod memory;
mod variables;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secrecy::ExposeSecret;

pub(crate) use directory::{remove, write as write_directory};
pub(crate) use memory::warn_of_disk;
pub(crate) use variables::{variable_name, variables};

use crate::duration::rough;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resource::Bound;

/// What was typed about the delivery.
#[derive(Args)]
pub(crate) struct DeliveryFlags {
    /// How to hand out the credentials [default: env, or dir with --out, or what --output says]
    #[arg(long, value_enum)]
    format: Option<FormatFlag>,

    /// With --format dir: the directory to write NAME/<key> files into
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatFlag {
    /// NAME_URI=..., NAME_HOST=..., safe to `eval`
    Env,
    /// What the API answered
    Json,
    /// The URI alone
    Uri,
    /// One file for each key, after servicebinding.io
    Dir,
}

/// What it means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Variables,
    Document(Format),
    Uri,
    Directory(PathBuf),
}

// === impl DeliveryFlags ===

impl DeliveryFlags {
    pub fn meaning(&self, output: Option<Format>) -> Result<Delivery, Failure> {
        match (self.format, &self.out) {
            (Some(FormatFlag::Dir) | None, Some(out)) => Ok(Delivery::Directory(out.clone())),
            (Some(FormatFlag::Dir), None) => {
                Err(Failure::usage("--format dir needs --out DIR, the directory to write into"))
            }
            (Some(_), Some(_)) => Err(Failure::usage("--out goes with --format dir only; redirect the output instead")),
            (Some(FormatFlag::Env), None) => Ok(Delivery::Variables),
            (Some(FormatFlag::Json), None) => Ok(Delivery::Document(Format::Json)),
            (Some(FormatFlag::Uri), None) => Ok(Delivery::Uri),
            (None, None) => Ok(match output {
                None | Some(Format::Table) => Delivery::Variables,
                Some(format) => Delivery::Document(format),
            }),
        }
    }
}

// === impl Delivery ===

impl Delivery {
    /// Hands out what the API answered, and says on standard error until when it serves.
    pub fn deliver(&self, answer: &str) -> Result<(), Failure> {
        let bound: Bound = output::read(answer)?;
        match self {
            Self::Variables => {
                let lines = variables(&bound).iter().map(|variable| variable.line() + "\n").collect::<String>();
                output::write(&lines)?;
            }
            Self::Document(format) => output::write(&output::document(answer, *format)?)?,
            Self::Uri => match bound.credentials.get("uri") {
                Some(uri) => output::write(&format!("{}\n", uri.0.expose_secret()))?,
                None => {
                    return Err(Failure::Usage {
                        sentence: format!("{} has no URI", bound.instance),
                        remedy: Some("ask with --format env, json or dir".to_owned()),
                    });
                }
            },
            Self::Directory(out) => {
                let directory = files(out, &bound)?;
                warn_of_disk(&directory);
                output::write(&format!("{}\n", directory.display()))?;
            }
        }
        let expires = bound.lease_seconds.map(|seconds| format!("expires in {}, ", rough(seconds))).unwrap_or_default();
        output::message(&format!("Binding {0}: {expires}ends with `mainstay unbind {0}`.", bound.id));
        Ok(())
    }
}

/// Writes the files of a binding below a directory.
pub(crate) fn files(out: &Path, bound: &Bound) -> Result<PathBuf, Failure> {
    let keys = bound.credentials.iter().map(|(key, value)| (key.as_str(), &value.0));
    write_directory(out, bound.instance.as_str(), keys).map_err(|source| {
        Failure::local(format!("the files of {} cannot be written to {}", bound.instance, out.display()), source)
    })
}

#[cfg(test)]
mod tests {
    use super::{Delivery, DeliveryFlags, FormatFlag};
    use crate::output::Format;

    #[test]
    fn what_was_typed_means_one_delivery_or_none() {
        let check =
            |format, out: Option<&str>, output| DeliveryFlags { format, out: out.map(Into::into) }.meaning(output).ok();
        assert_eq!(check(None, None, None), Some(Delivery::Variables));
        assert_eq!(check(None, None, Some(Format::Json)), Some(Delivery::Document(Format::Json)));
        assert_eq!(check(Some(FormatFlag::Env), None, Some(Format::Json)), Some(Delivery::Variables));
        assert_eq!(check(None, Some("d"), None), Some(Delivery::Directory("d".into())));
        assert_eq!(check(Some(FormatFlag::Dir), Some("d"), None), Some(Delivery::Directory("d".into())));
        assert_eq!(check(Some(FormatFlag::Dir), None, None), None);
        assert_eq!(check(Some(FormatFlag::Uri), Some("d"), None), None);
    }
}
