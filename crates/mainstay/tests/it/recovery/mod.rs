//! What is lost with a machine, and comes back from the repository.

mod away;
mod disaster;
mod elsewhere;
mod everything;
mod evidence;
mod keepers;
mod layer;
mod postgresql;
mod remotes;
mod rewind;
mod sample;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Layer, Options, until};

/// A backup of the layer's state comes within ten seconds, and not within thirty of the one before.
const PATIENCE: Duration = Duration::from_secs(90);

/// A layer with a repository that is open.
fn protected() -> Layer {
    let layer = Layer::start(Options { repository: true, ..Options::default() });
    until("the repository is open", PATIENCE, || (standing(&layer)["state"] == "ready").then_some(()));
    layer
}

fn standing(layer: &Layer) -> Value {
    layer.api().get("/api/v1/recovery").expect(200)
}

/// Waits until the newest event is in a backup.
fn backed_up(layer: &Layer) {
    until("the layer's state is backed up", PATIENCE, || {
        let newest = layer.api().get("/api/v1/status").expect(200)["journal"]["sequence"].as_u64()?;
        (standing(layer)["layer_backup"]["sequence"].as_u64()? >= newest).then_some(())
    });
}

/// How many documents of a kind a repository has.
fn documents(repository: &Path, kind: &str) -> usize {
    std::fs::read_dir(repository.join("documents").join(kind)).unwrap().count()
}

/// The recovery key as the kit has it, in a file.
fn key_file(layer: &Layer) -> std::path::PathBuf {
    let kit = layer.cli(&["recovery-key", "show"]).succeed();
    let lines: Vec<&str> = kit.lines().collect();
    let heading = lines.iter().position(|line| line.starts_with("Recovery key:")).unwrap();
    let groups: Vec<&str> =
        lines[heading + 2..].iter().take_while(|line| !line.trim().is_empty()).map(|line| line.trim()).collect();
    let file = layer.scratch().join("recovery.key");
    std::fs::write(&file, groups.concat()).unwrap();
    file
}

/// Removes the data directory, as a disk that breaks does.
fn lose(layer: &Layer) {
    std::fs::remove_dir_all(layer.data_dir()).unwrap();
}

fn arguments<'a>(repository: &'a Path, to: &'a Path, key: &'a Path) -> [&'a str; 7] {
    let text = |path: &'a Path| path.to_str().unwrap();
    ["recover", "--repository", text(repository), "--to", text(to), "--recovery-key-file", text(key)]
}
