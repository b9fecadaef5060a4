//! Writes the API's contract, `contracts/openapi.json`, from the routes as they are.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/openapi.json");
    let mut text = serde_json::to_string_pretty(&mainstay_http::openapi())?;
    text.push('\n');
    std::fs::write(&path, text)?;
    println!("wrote {}", path.canonicalize()?.display());
    Ok(())
}
