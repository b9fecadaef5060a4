//! Where the files of the bindings are: in memory, for one command, removed after it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::client::random_word;
use crate::delivery::{remove, warn_of_disk};
use crate::failure::Failure;
use crate::output;
use mainstay_types::InstanceName;

/// The root of a command's bindings. What was made of it is removed when it is dropped.
pub(super) struct Place {
    root: PathBuf,
    /// Whether the root itself was made for this command.
    own: bool,
    added: Vec<PathBuf>,
}

impl Place {
    /// The root that the surroundings name already, as the Service Binding specification asks, or a new one in memory.
    pub fn find() -> Result<Self, Failure> {
        if let Some(root) = std::env::var_os("SERVICE_BINDING_ROOT").filter(|root| !root.is_empty()) {
            let root = PathBuf::from(root);
            warn_of_disk(&root);
            return Ok(Self { root, own: false, added: Vec::new() });
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let candidates = runtime.into_iter().chain([PathBuf::from("/dev/shm"), std::env::temp_dir()]);
        let name = format!("mainstay-run-{}", random_word()?);
        for parent in candidates {
            let root = parent.join(&name);
            if DirBuilder::new().mode(0o700).create(&root).is_ok() {
                warn_of_disk(&root);
                return Ok(Self { root, own: true, added: Vec::new() });
            }
        }
        Err(Failure::Usage {
            sentence: "no directory can be made for the credentials in $XDG_RUNTIME_DIR, /dev/shm or $TMPDIR"
                .to_owned(),
            remedy: Some("set SERVICE_BINDING_ROOT to a directory that you may write".to_owned()),
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Adds the files of one binding.
    pub fn add(
        &mut self,
        instance: &InstanceName,
        write: impl FnOnce(&Path) -> Result<PathBuf, Failure>,
    ) -> Result<(), Failure> {
        let directory = self.root.join(instance.as_str());
        if directory.symlink_metadata().is_ok() {
            return Err(Failure::Usage {
                sentence: format!("{} exists already and is somebody else's", directory.display()),
                remedy: Some("unset SERVICE_BINDING_ROOT, or remove what stands there".to_owned()),
            });
        }
        self.added.push(write(&self.root)?);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let whole = if self.own { std::slice::from_ref(&self.root) } else { &self.added };
        for directory in whole {
            if let Err(error) = remove(directory) {
                output::error(&format!("{} cannot be removed: {error}", directory.display()), Some("remove it"));
            }
        }
    }
}
