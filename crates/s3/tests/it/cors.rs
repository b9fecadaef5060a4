//! Pages of other origins.

use aws_sdk_s3::types::{CorsConfiguration, CorsRule};

use crate::raw::send;
use crate::server::{Server, put};

#[tokio::test(flavor = "multi_thread")]
async fn preflights_and_the_requests_after_them() {
    let server = Server::start().await;
    let client = server.client();
    put(&client, "a", "x").await;
    let rule = CorsRule::builder()
        .allowed_methods("GET")
        .allowed_origins("https://*.example.org")
        .allowed_headers("x-amz-*")
        .expose_headers("ETag")
        .max_age_seconds(60)
        .build()
        .unwrap();
    let rules = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
    client.put_bucket_cors().bucket("photos").cors_configuration(rules).send().await.unwrap();
    let ask = |method: &str, host: &str, path: &str, headers: &str| {
        let text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        async move { send(server.address, &text).await }
    };
    let origin = "origin: https://www.example.org\r\n";
    let wants = |method: &str| format!("{origin}access-control-request-method: {method}\r\n");
    for (host, path) in [("x", "/photos/a"), ("photos.localhost", "/a")] {
        let answer = ask("OPTIONS", host, path, &wants("GET")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://www.example.org"));
        assert_eq!(answer.header("access-control-max-age"), Some("60"));
    }
    assert_eq!(ask("OPTIONS", "x", "/photos/a", &wants("PUT")).await.status, 403);
    let stranger = "origin: https://example.com\r\naccess-control-request-method: GET\r\n";
    assert_eq!(ask("OPTIONS", "x", "/photos/a", stranger).await.status, 403);
    assert_eq!(ask("OPTIONS", "x", "/photos/a", origin).await.status, 400);
    assert_eq!(ask("OPTIONS", "x", "/photos/a", "").await.status, 400);
    assert_eq!(ask("OPTIONS", "x", "/nowhere/a", &wants("GET")).await.status, 404);
    // A page reads why it is refused, too.
    let refused = ask("GET", "x", "/photos/a", origin).await;
    assert_eq!((refused.status, refused.header("access-control-expose-headers")), (403, Some("ETag")));
    assert_eq!(ask("GET", "x", "/photos/a", "").await.header("access-control-allow-origin"), None);
}
