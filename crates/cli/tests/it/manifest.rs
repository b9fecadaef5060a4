use std::fs;

use crate::api::Api;
use crate::run;
use crate::verbs::SHOP;

fn api() -> Api {
    Api::start(&[("GET /instances", 200, &format!(r#"{{"items":[{SHOP}],"next":null}}"#))])
}

#[test]
fn what_is_exported_does_not_differ() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer.yaml");
    let name = file.to_str().unwrap();
    let api = api();
    let (code, exported, _) = run(&api, &["export"]);
    assert_eq!(code, 0);
    fs::write(&file, &exported).unwrap();
    assert_eq!(run(&api, &["diff", "-f", name]), (0, String::new(), String::new()));
    assert_eq!(run(&api, &["apply", "-f", name]).0, 0);
    assert!(api.seen().iter().all(|request| request.starts_with("GET ")), "{:?}", api.seen());
}

#[test]
fn differences_have_exit_codes_and_stop_apply() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer.yaml");
    let name = file.to_str().unwrap();
    let api = api();
    let head = "apiVersion: mainstay/v1\ninstances:\n";
    fs::write(
        &file,
        format!(
            "{head}- {{name: shop, contract: postgresql/v1, plan: dedicated}}\n- {{name: b, contract: redis/v1}}\n"
        ),
    )
    .unwrap();
    let (code, stdout, _) = run(&api, &["diff", "-f", name]);
    assert_eq!((code, stdout.as_str()), (1, "~ shop plan: shared -> dedicated\n+ b redis/v1\n"));
    let (code, _, stderr) = run(&api, &["apply", "-f", name]);
    assert!(code == 1 && stderr.contains("nothing was done\n~ shop plan: shared -> dedicated\n"), "{stderr}");
    assert!(api.seen().iter().all(|request| request.starts_with("GET ")), "{:?}", api.seen());

    fs::write(&file, format!("{head}- {{name: Shop}}\n")).unwrap();
    let (code, _, stderr) = run(&api, &["diff", "-f", name]);
    assert_eq!(code, 2);
    assert!(stderr.contains(&format!("{name}: line 3: instance name \"Shop\" is not valid")), "{stderr}");
    assert!(stderr.contains(&format!("{name}: line 3: contract is missing")), "{stderr}");
    assert_eq!(run(&api, &["diff", "-f", "/nowhere"]).0, 2);
}
