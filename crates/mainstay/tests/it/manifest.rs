//! Instances as a file: `apply`, `diff` and `export`.

use std::path::Path;
use std::process::Stdio;

use crate::harness::{Layer, Options};

const HEAD: &str = "apiVersion: mainstay/v1\ninstances:\n";

#[test]
fn a_file_is_applied_compared_and_exported() {
    let layer = Layer::start(Options::default());
    let file = layer.scratch().join("layer.yaml");
    let path = file.to_str().unwrap();
    let shop = "- {name: shop, contract: postgresql/v1, parameters: {connection_limit: 7}}\n";
    let desk = "- name: desk\n  contract: postgresql/v1\n  plan: shared\n  environment: staging\n";
    write(&file, &format!("{shop}{desk}"));

    let preview = layer.cli(&["diff", "-f", path]);
    let expected = "+ shop postgresql/v1\n+ desk postgresql/v1 shared\n";
    assert_eq!((preview.code, preview.stdout.as_str(), preview.stderr.as_str()), (1, expected, ""));
    assert_eq!(layer.api().all("/api/v1/instances"), Vec::<serde_json::Value>::new(), "a preview changes nothing");

    let applied = layer.cli(&["apply", "-f", path]);
    assert_eq!((applied.code, applied.stdout.as_str()), (0, ""), "{applied:?}");
    assert_eq!(applied.stderr, "Created shop.\nCreated desk.\n");
    same(&layer, path);
    let desk = layer.cli(&["get", "desk", "-o", "json"]).json();
    assert_eq!((&desk["environment"], &desk["state"]), (&"staging".into(), &"ready".into()));

    let before = layer.events().len();
    let again = layer.cli(&["apply", "-f", path]);
    assert_eq!((again.code, again.stderr.as_str()), (0, "Nothing to do: all is as the file wants it.\n"));
    assert_eq!(layer.events().len(), before, "what is so already is not done again");

    export(&layer);
    refuse_changes(&layer, &file, shop);
}

/// What is exported, `diff` finds equal, and another layer makes the same of.
fn export(layer: &Layer) {
    let exported = layer.cli(&["export"]).succeed();
    assert_eq!(layer.cli(&["export"]).succeed(), exported, "the same instances give the same file");
    let file = layer.scratch().join("exported.yaml");
    std::fs::write(&file, &exported).unwrap();
    same(layer, file.to_str().unwrap());
    let staging = layer.cli(&["export", "--environment", "staging"]).succeed();
    assert!(staging.contains("desk") && !staging.contains("shop"), "{staging}");

    let other = Layer::start(Options::default());
    other.cli(&["apply", "-f", file.to_str().unwrap()]).succeed();
    assert_eq!(other.cli(&["export"]).succeed(), exported);

    layer.cli(&["delete", "desk", "--yes"]).succeed();
    let missing = layer.cli(&["diff", "-f", file.to_str().unwrap()]);
    assert_eq!((missing.code, missing.stdout.as_str()), (1, "+ desk postgresql/v1 shared\n"));
    layer.cli(&["apply", "-f", file.to_str().unwrap()]).succeed();
    same(layer, file.to_str().unwrap());
}

/// A field that cannot change is told of, and then nothing of the file is done.
fn refuse_changes(layer: &Layer, file: &Path, shop: &str) {
    let path = file.to_str().unwrap();
    let changed = "- {name: desk, contract: postgresql/v1, plan: dedicated, environment: prod}\n";
    write(file, &format!("- {{name: fresh, contract: postgresql/v1}}\n{shop}{changed}"));
    let differences = "~ desk plan: shared -> dedicated\n~ desk environment: staging -> prod\n";
    let preview = layer.cli(&["diff", "-f", path]);
    assert_eq!((preview.code, preview.stdout.as_str()), (1, &*format!("+ fresh postgresql/v1\n{differences}")));
    let refused = layer.cli(&["apply", "-f", path]).fail(1);
    assert!(refused.contains("nothing was done") && refused.contains("plan: shared -> dedicated"), "{refused}");
    layer.cli(&["get", "fresh"]).fail(1);

    write(file, shop);
    let fewer = layer.cli(&["diff", "-f", path]);
    assert_eq!((fewer.code, fewer.stdout.as_str()), (0, ""), "what the file leaves out is left alone");
    assert!(fewer.stderr.contains("1 more exist"), "{fewer:?}");
}

#[test]
fn every_mistake_of_a_file_is_named_with_its_line() {
    let layer = Layer::shared();
    let file = layer.scratch().join("mistakes.yaml");
    let path = file.to_str().unwrap();
    write(
        &file,
        "- {name: Shop, contract: postgresql/v1}\n- contract: postgres\n- {name: a, contract: postgresql/v1, plan: big}\n\
         - name: b\n  contract: postgresql/v1\n  colour: red\n- {name: b2, contract: postgresql/v1}\n\
         - {name: b2, contract: postgresql/v1}\n",
    );
    for (verb, code) in [("apply", 1), ("diff", 2)] {
        let told = layer.cli(&[verb, "-f", path]).fail(code);
        for (line, what) in
            [(3, "Shop"), (4, "name is missing"), (4, "postgres"), (5, "big"), (8, "colour"), (10, "b2")]
        {
            let place = format!("{path}: line {line}: ");
            assert!(told.lines().any(|told| told.contains(&place) && told.contains(what)), "{place}{what} in:\n{told}");
        }
    }
    std::fs::write(&file, "apiVersion: mainstay/v9\ninstances: [\n").unwrap();
    assert!(layer.cli(&["diff", "-f", path]).fail(2).contains("line "));
    assert!(layer.cli(&["apply", "-f", "/nowhere.yaml"]).fail(1).contains("/nowhere.yaml"));
    layer.cli(&["diff", "-f", "/nowhere.yaml"]).fail(2);
    layer.cli(&["apply"]).fail(2);
}

#[test]
fn what_the_layer_refuses_is_told_of_each_instance() {
    let layer = Layer::shared();
    let file = layer.scratch().join("refused.yaml");
    write(
        &file,
        "- {name: applied-good, contract: postgresql/v1}\n- {name: applied-bad, contract: mysql/v1}\n\
         - {name: applied-odd, contract: postgresql/v1, parameters: {speed: 9}}\n",
    );
    let refused = layer.cli(&["apply", "-f", file.to_str().unwrap()]).fail(1);
    assert!(refused.contains("applied-bad") && refused.contains("mysql/v1"), "{refused}");
    assert!(refused.contains("applied-odd") && refused.contains("speed"), "{refused}");
    layer.cli(&["get", "applied-good"]).succeed();
}

#[test]
fn a_file_comes_from_standard_input_too() {
    let layer = Layer::shared();
    let file = layer.scratch().join("piped.yaml");
    write(&file, "- {name: piped, contract: postgresql/v1}\n");
    let apply = |verb: &str| {
        let input = Stdio::from(std::fs::File::open(&file).unwrap());
        layer.command().args([verb, "-f", "-"]).stdin(input).output().unwrap().status.code()
    };
    assert_eq!([apply("diff"), apply("apply"), apply("diff")], [Some(1), Some(0), Some(0)]);
    layer.cli(&["diff", "-f", file.to_str().unwrap(), "--address", "http://127.0.0.1:1"]).fail(2);
}

fn write(file: &Path, instances: &str) {
    std::fs::write(file, format!("{HEAD}{instances}")).unwrap();
}

/// `diff` finds nothing.
#[track_caller]
fn same(layer: &Layer, path: &str) {
    let diff = layer.cli(&["diff", "-f", path]);
    assert_eq!((diff.code, diff.stdout.as_str(), diff.stderr.as_str()), (0, "", ""));
}
