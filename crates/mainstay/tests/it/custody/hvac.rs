//! hvac's own integration tests, which its authors run against Vault.

use std::path::Path;
use std::process::Command;

/// Where scripts/setup puts the source distribution, beside the Python that has what its tests import.
const SOURCES: &str = "hvac-2.4.0";

#[test]
fn hvacs_own_tests_pass() {
    let Some(python) = std::env::var_os("MAINSTAY_TEST_PYTHON") else {
        panic!("MAINSTAY_TEST_PYTHON names no Python with hvac's tests beside it; run the tests with: make test")
    };
    let bin = Path::new(&python).parent().unwrap();
    let sources = bin.parent().unwrap().join(SOURCES);
    // The tests write beside themselves, and the layers into a folder that goes when this ends.
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copied = Command::new("cp").arg("-r").arg(&sources).arg(place.path()).status().unwrap();
    assert!(copied.success(), "{} is not there; run the tests with: make test", sources.display());
    let tests = place.path().join(SOURCES);
    std::fs::create_dir_all(tests.join("tests/config_files/generated")).unwrap();

    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hvac");
    let path = format!("{}:{}:{}", ours.display(), bin.display(), std::env::var("PATH").unwrap());
    let mut pytest = Command::new(&python);
    pytest.args(["-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "on_mainstay", "-q", "--tb=short"]);
    pytest.args(["--timeout=120", "tests/integration_tests"]).current_dir(&tests);
    pytest.env("PATH", path).env("PYTHONPATH", &ours).env("PYTHONDONTWRITEBYTECODE", "1");
    pytest.env("MAINSTAY_BIN", env!("CARGO_BIN_EXE_mainstay")).env("MAINSTAY_HVAC_DIR", place.path());
    let output = pytest.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    println!("hvac: {}", printed.lines().last().unwrap_or_default());
    let log = std::fs::read_to_string(place.path().join("layer.log")).unwrap_or_default();
    assert!(output.status.success(), "{printed}{}\n{log}", String::from_utf8_lossy(&output.stderr));
}
