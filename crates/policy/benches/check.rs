//! What one check costs: `cargo bench -p mainstay-policy`.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::hint::black_box;
use std::time::Instant;

use mainstay_policy::{Acl, DEFAULT, OPERATOR, Operation, Policy, PolicyName};
use serde_json::Map;

const CHECKS: u32 = 2_000_000;

fn main() {
    let own = (0..12).map(|number| {
        format!(
            r#"path "secret/data/team-{number}/*" {{ capabilities = ["read"] }}
               path "secret/data/team-{number}/db" {{ policy = "write" }}
               path "secret/+/team-{number}/*" {{ capabilities = ["list"] }}"#
        )
    });
    let texts = own.chain([DEFAULT.to_owned(), OPERATOR.to_owned()]);
    let policies: Vec<_> =
        texts.map(|text| Policy::parse(PolicyName::parse("bench").unwrap(), &text).unwrap()).collect();
    let acl = Acl::new(&policies);
    let data = Map::new();
    let table = [
        ("an exact path", "secret/data/team-7/db", Operation::Read),
        ("a prefix, beside 12 patterns with +", "secret/data/team-7/app/config", Operation::Read),
        ("a list", "secret/metadata/team-7/app/", Operation::List),
        ("the widest prefix", "kv/some/other/application", Operation::Update),
    ];
    for (what, path, operation) in table {
        let started = Instant::now();
        for _ in 0..CHECKS {
            assert!(black_box(&acl).check(black_box(path), operation, &data, None).allowed);
        }
        println!("{what:<40} {:>6.0} ns", started.elapsed().as_nanos() as f64 / f64::from(CHECKS));
    }
    let started = Instant::now();
    for _ in 0..1000 {
        black_box(Acl::new(&policies));
    }
    println!("{:<40} {:>6.0} µs", "building it of 14 policies", started.elapsed().as_micros() as f64 / 1000.0);
}
