//! The harness itself, on the main job.

use crate::harness::Layer;

#[test]
fn an_instance_is_created_bound_and_told_of() {
    let layer = Layer::shared();
    let listed = layer.cli(&["list", "-o", "json"]);
    assert_eq!((listed.code, listed.stderr.as_str()), (0, ""), "{}", listed.stdout);
    assert_eq!(layer.create("told")["state"], "ready");
    assert_eq!(layer.bind("told", "app")["credentials"]["provider"], "mainstay");
    assert!(layer.events_of("v1.instance.ready").iter().any(|event| event["tenant"] == "default"));
    assert_eq!(layer.api().with_token("mst_x_y").get("/api/v1/instances").status, 401);
    assert!(layer.log().contains("the control plane serves"));
}
