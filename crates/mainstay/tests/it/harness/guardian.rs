//! Sees to it that nothing is left of a layer, however its test or the whole test process ends.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Waits until the test closes its pipe or dies, then ends the layer and removes it.
const SCRIPT: &str = r#"
cat > /dev/null
"$MAINSTAY" down --data-dir "$ROOT/data"
ended=$?
if mountpoint -q "$ROOT/data"; then umount "$ROOT/data"; fi
rm -rf "$ROOT"
exit $ended
"#;

/// A process that outlives the test's.
#[derive(Debug)]
pub struct Guardian(Child);

impl Guardian {
    pub fn watch(root: &Path, environment: &[(String, String)], log: &File) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT]).env_clear().envs(environment.iter().cloned());
        command.env("ROOT", root).env("MAINSTAY", program()).stdin(Stdio::piped());
        command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
        // A group of its own, so that Ctrl-C does not end it before it has done its work.
        Self(command.process_group(0).spawn().unwrap())
    }

    /// Lets it do its work; says whether the layer could be stopped.
    pub fn finish(&mut self) -> bool {
        drop(self.0.stdin.take());
        self.0.wait().unwrap().success()
    }
}

/// The program that is tested.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_mainstay"))
}
