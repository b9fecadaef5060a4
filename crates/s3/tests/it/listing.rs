//! Listings.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{EncodingType, Object};

use crate::server::{Server, error, put, refused};

async fn with_keys(keys: &[&str]) -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    for key in keys {
        put(&client, key, "x").await;
    }
    (server, client)
}

fn keys(objects: &[Object]) -> Vec<&str> {
    objects.iter().filter_map(Object::key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_order_of_bytes() {
    let (_server, client) = with_keys(&["b", "a", "é", "B", "a/b", "a!", "z"]).await;
    let listed = client.list_objects_v2().bucket("photos").send().await.unwrap();
    assert_eq!(keys(listed.contents()), ["B", "a", "a!", "a/b", "b", "z", "é"]);
    assert_eq!((listed.key_count(), listed.is_truncated()), (Some(7), Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_both_kinds() {
    let names: Vec<String> = (0..25).map(|number| format!("k{number:02}")).collect();
    let (_server, client) = with_keys(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page =
            client.list_objects_v2().bucket("photos").max_keys(10).set_continuation_token(token).send().await.unwrap();
        seen.extend(keys(page.contents()).into_iter().map(str::to_owned));
        token = page.next_continuation_token().map(str::to_owned);
        assert_eq!(page.is_truncated(), Some(token.is_some()));
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
    let page = client.list_objects().bucket("photos").marker("k09").max_keys(2).send().await.unwrap();
    assert_eq!(keys(page.contents()), ["k10", "k11"]);
    assert_eq!((page.next_marker(), page.is_truncated()), (None, Some(true)));
    let page = client.list_objects_v2().bucket("photos").start_after("k23").send().await.unwrap();
    assert_eq!(keys(page.contents()), ["k24"]);
    let none = client.list_objects().bucket("photos").max_keys(0).send().await.unwrap();
    assert_eq!((none.contents().len(), none.is_truncated()), (0, Some(false)));
    let forged = client.list_objects_v2().bucket("photos").continuation_token("?!").send().await;
    assert_eq!(refused(forged), error(400, "InvalidArgument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn delimiters_and_prefixes() {
    let (_server, client) = with_keys(&["asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla"]).await;
    let listed = client.list_objects().bucket("photos").delimiter("/").max_keys(2).send().await.unwrap();
    let prefixes = |prefixes: &[aws_sdk_s3::types::CommonPrefix]| {
        prefixes.iter().filter_map(|prefix| prefix.prefix().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!((keys(listed.contents()), prefixes(listed.common_prefixes())), (vec!["asdf"], vec!["boo/".to_owned()]));
    assert_eq!(listed.next_marker(), Some("boo/"));
    let rest = client.list_objects().bucket("photos").delimiter("/").marker("boo/").send().await.unwrap();
    assert_eq!((keys(rest.contents()), prefixes(rest.common_prefixes())), (vec![], vec!["cquux/".to_owned()]));
    let inner = client.list_objects_v2().bucket("photos").prefix("boo/").delimiter("/").send().await.unwrap();
    assert_eq!(
        (keys(inner.contents()), prefixes(inner.common_prefixes())),
        (vec!["boo/bar"], vec!["boo/baz/".to_owned()])
    );
    let empty = client.list_objects().bucket("photos").delimiter("").send().await.unwrap();
    assert_eq!((empty.contents().len(), empty.delimiter()), (5, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_xml_cannot_hold_are_encoded() {
    let (_server, client) = with_keys(&["foo+1/bar", "foo/bar/xyzzy", "quux ab/thud", "asdf+b", "bell\u{7}"]).await;
    let listed =
        client.list_objects().bucket("photos").delimiter("/").encoding_type(EncodingType::Url).send().await.unwrap();
    assert_eq!(keys(listed.contents()), ["asdf%2Bb", "bell%07"]);
    let prefixes: Vec<_> = listed.common_prefixes().iter().filter_map(|prefix| prefix.prefix()).collect();
    assert_eq!(prefixes, ["foo%2B1/", "foo/", "quux%20ab/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_where_they_are_asked_for() {
    let (server, client) = with_keys(&["a"]).await;
    let plain = client.list_objects_v2().bucket("photos").send().await.unwrap();
    assert!(plain.contents()[0].owner().is_none());
    let told = client.list_objects_v2().bucket("photos").fetch_owner(true).send().await.unwrap();
    assert_eq!(told.contents()[0].owner().and_then(|owner| owner.id()), Some(server.alpha.as_str()));
}
