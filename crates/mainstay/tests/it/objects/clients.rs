//! Stock S3 clients carry folders to the layer and back, and bring the same bytes.

use std::fs;

use serde_json::{Value, json};

use super::Bound;
use super::request::fetch;
use super::stock::{noise, program, python, read, same, sample, succeed, with_key, write};
use crate::harness::Layer;

/// The smallest part there is, so that little has to be carried to have several.
const PART: &str = "5";

#[test]
fn aws_command_line() {
    if python().is_none() {
        return;
    }
    let bound = Bound::new(Layer::shared(), "with-aws", json!({}));
    let place = tempfile::tempdir().unwrap();
    let aws = |arguments: &[&str]| {
        let mut command = python().unwrap();
        with_key(&mut command, &bound, place.path());
        command.args(["-m", "awscli"]).args(arguments).current_dir(place.path());
        succeed(&mut command)
    };
    let url = |key: &str| format!("s3://{}/{key}", bound.bucket);
    let tree = sample();
    write(&place.path().join("tree"), &tree);

    aws(&["s3", "sync", "tree", &url("tree"), "--only-show-errors"]);
    aws(&["s3", "sync", &url("tree"), "back", "--only-show-errors"]);
    same(&read(&place.path().join("back")), &tree);
    assert!(aws(&["s3", "sync", "tree", &url("tree")]).is_empty(), "nothing is left to be done");

    aws(&["s3", "mv", &url("tree/large/in-parts"), &url("moved"), "--only-show-errors"]);
    assert!(aws(&["s3", "cp", &url("moved"), "-"]) == tree["large/in-parts"]);
    let presigned = String::from_utf8(aws(&["s3", "presign", &url("moved"), "--expires-in", "60"])).unwrap();
    assert!(fetch(presigned.trim()).expect(200) == tree["large/in-parts"]);
    aws(&[
        "s3",
        "cp",
        "tree/plain.txt",
        &url("typed"),
        "--only-show-errors",
        "--metadata",
        "color=blue",
        "--sse",
        "AES256",
    ]);
    let head: Value =
        serde_json::from_slice(&aws(&["s3api", "head-object", "--bucket", &bound.bucket, "--key", "typed"])).unwrap();
    assert_eq!((&head["ContentType"], &head["Metadata"]["color"]), (&json!("text/plain"), &json!("blue")));
    assert_eq!(head["ServerSideEncryption"], "AES256");

    aws(&["s3", "rm", &url("tree"), "--recursive", "--only-show-errors"]);
    let left = String::from_utf8(aws(&["s3", "ls", &format!("s3://{}", bound.bucket), "--recursive"])).unwrap();
    let left: Vec<_> = left.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(left, ["moved", "typed"]);
}

#[test]
fn rclone() {
    if program("rclone").is_none() {
        return;
    }
    let bound = Bound::new(Layer::shared(), "with-rclone", json!({}));
    let place = tempfile::tempdir().unwrap();
    let rclone = |arguments: &[&str]| {
        let mut command = program("rclone").unwrap();
        with_key(&mut command, &bound, place.path());
        for (name, value) in
            [("TYPE", "s3"), ("PROVIDER", "Other"), ("ENV_AUTH", "true"), ("ENDPOINT", &bound.endpoint)]
        {
            command.env(format!("RCLONE_CONFIG_LAYER_{name}"), value);
        }
        command.env("RCLONE_CONFIG_LAYER_REGION", &bound.region).env("RCLONE_CONFIG", place.path().join("rclone.conf"));
        command.args([
            "--retries",
            "1",
            "--low-level-retries",
            "1",
            "--s3-chunk-size",
            "5M",
            "--s3-upload-cutoff",
            "5M",
        ]);
        succeed(command.args(arguments).current_dir(place.path()))
    };
    let remote = |path: &str| format!("layer:{}/{path}", bound.bucket);
    let mut tree = sample();
    write(&place.path().join("tree"), &tree);

    rclone(&["sync", "tree", &remote("tree")]);
    rclone(&["check", "tree", &remote("tree"), "--download"]);
    rclone(&["copy", &remote("tree"), "back"]);
    same(&read(&place.path().join("back")), &tree);

    // What is gone is taken away, what is changed is sent again, and what is the same is left alone.
    fs::remove_file(place.path().join("tree/deep/er/y")).unwrap();
    tree.remove("deep/er/y");
    tree.insert("plain.txt".to_owned(), b"changed".to_vec());
    fs::write(place.path().join("tree/plain.txt"), b"changed").unwrap();
    rclone(&["sync", "tree", &remote("tree")]);
    rclone(&["check", "tree", &remote("tree")]);
    rclone(&["copyto", &remote("tree/large/in-parts"), &remote("copied in the layer")]);
    assert!(rclone(&["cat", &remote("copied in the layer")]) == tree["large/in-parts"]);
    rclone(&["delete", &remote("tree")]);
    assert_eq!(rclone(&["lsf", "-R", &remote("")]), b"copied in the layer\n");
}

#[test]
fn restic() {
    if program("restic").is_none() {
        return;
    }
    let bound = Bound::new(Layer::shared(), "with-restic", json!({}));
    let place = tempfile::tempdir().unwrap();
    let restic = |arguments: &[&str]| {
        let mut command = program("restic").unwrap();
        with_key(&mut command, &bound, place.path());
        command.env("RESTIC_REPOSITORY", format!("s3:{}/{}/repository", bound.endpoint, bound.bucket));
        command.env("RESTIC_PASSWORD", "of the test");
        succeed(command.args(arguments).current_dir(place.path()))
    };
    let mut tree = sample();
    write(&place.path().join("tree"), &tree);

    restic(&["init", "--quiet"]);
    restic(&["backup", "--quiet", "tree"]);
    tree.insert("plain.txt".to_owned(), noise(7, 300_000));
    tree.remove("one mebibyte");
    fs::remove_file(place.path().join("tree/one mebibyte")).unwrap();
    write(&place.path().join("tree"), &tree);
    restic(&["backup", "--quiet", "tree"]);
    let snapshots: Value = serde_json::from_slice(&restic(&["snapshots", "--json"])).unwrap();
    assert_eq!(snapshots.as_array().unwrap().len(), 2);
    restic(&["forget", "--quiet", "--keep-last", "1", "--prune"]);
    restic(&["check", "--quiet", "--read-data"]);
    restic(&["restore", "--quiet", "latest", "--target", "restored"]);
    same(&read(&place.path().join("restored/tree")), &tree);
}

#[test]
fn s3cmd() {
    if program("s3cmd").is_none() {
        return;
    }
    let bound = Bound::new(Layer::shared(), "with-s3cmd", json!({}));
    let place = tempfile::tempdir().unwrap();
    let configuration = place.path().join("s3cfg");
    let host = bound.endpoint.strip_prefix("http://").unwrap();
    let text = format!(
        "[default]\naccess_key = {}\nsecret_key = {}\nhost_base = {host}\nhost_bucket = {host}\nbucket_location = {}\n\
         use_https = False\nsignature_v2 = False\n",
        bound.access_key, bound.secret_key, bound.region
    );
    fs::write(&configuration, text).unwrap();
    let s3cmd = |arguments: &[&str]| {
        let mut command = program("s3cmd").unwrap();
        command.env("LANG", "C.UTF-8").env("HOME", place.path()).arg("-c").arg(&configuration);
        command.args(["--no-progress", "--multipart-chunk-size-mb", PART]).args(arguments).current_dir(place.path());
        succeed(&mut command)
    };
    let url = |key: &str| format!("s3://{}/{key}", bound.bucket);
    let tree = sample();
    write(&place.path().join("tree"), &tree);

    s3cmd(&["sync", "tree/", &url("tree/")]);
    fs::create_dir(place.path().join("back")).unwrap();
    s3cmd(&["sync", &url("tree/"), "back/"]);
    same(&read(&place.path().join("back")), &tree);

    s3cmd(&["put", "tree/large/in-parts", &url("large")]);
    s3cmd(&["get", &url("large"), "large"]);
    assert!(fs::read(place.path().join("large")).unwrap() == tree["large/in-parts"]);
    let told = String::from_utf8(s3cmd(&["info", &url("large")])).unwrap();
    assert!(told.contains(&format!("File size: {}", tree["large/in-parts"].len())), "{told}");
    let told = String::from_utf8(s3cmd(&["info", &format!("s3://{}", bound.bucket)])).unwrap();
    assert!(told.contains("Location:"), "{told}");
    s3cmd(&["cp", &url("large"), &url("copied")]);
    s3cmd(&["mv", &url("copied"), &url("moved")]);
    s3cmd(&["del", "--recursive", "--force", &url("tree/")]);
    let left = String::from_utf8(s3cmd(&["ls", "--recursive", &format!("s3://{}", bound.bucket)])).unwrap();
    let left: Vec<_> = left.lines().map(|line| line.rsplit('/').next().unwrap()).collect();
    assert_eq!(left, ["large", "moved"]);
    assert!(bound.get("moved").expect(200) == tree["large/in-parts"]);
}
