//! `spec.serving.access`.

use rstest::rstest;

use super::{Scope, parse_for, refusal, serving};

fn access(line: &str) -> String {
    serving(&format!("access: {line}"))
}

const JWT: &str = "issuer: https://id.example.com/realms/a, audiences: [models]";

#[rstest]
#[case::keys("{apiKeys: {secretRef: {name: clients}}}".to_owned())]
#[case::tls("{tls: {secretRef: {name: bc-tls}}}".to_owned())]
#[case::jwt(format!("{{jwt: {{{JWT}}}}}"))]
#[case::jwks(format!("{{jwt: {{{JWT}, jwksUri: 'https://id.example.com/keys?p=a'}}}}"))]
#[case::limits("{apiKeys: {secretRef: {name: c}}, limits: {requestsPerSecond: 5, burst: 10, concurrentRequests: 2}}".to_owned())]
fn access_is_accepted_in_a_cluster(#[case] line: String) {
    let text = access(&line);
    parse_for(&text, "bc.yaml", Scope::Cluster).unwrap_or_else(|problems| panic!("{problems}"));
}

#[rstest]
#[case::empty("{}".to_owned(), "access without apiKeys, jwt or tls admits everybody")]
#[case::only_limits("{tls: {secretRef: {name: t}}, limits: {concurrentRequests: 1}}".to_owned(), "no client is known")]
#[case::no_limit("{apiKeys: {secretRef: {name: c}}, limits: {}}".to_owned(), "limits need requestsPerSecond or")]
#[case::burst("{apiKeys: {secretRef: {name: c}}, limits: {concurrentRequests: 1, burst: 3}}".to_owned(), "burst belongs to")]
#[case::no_audience("{jwt: {issuer: https://id.example.com}}".to_owned(), "audiences")]
#[case::audiences_empty("{jwt: {issuer: https://id.example.com, audiences: []}}".to_owned(), "every token of the issuer would be taken")]
#[case::query("{jwt: {issuer: 'https://id.example.com/?a', audiences: [m]}}".to_owned(), "without user, query or fragment")]
#[case::user("{jwt: {issuer: 'https://a@id.example.com', audiences: [m]}}".to_owned(), "without user, query or fragment")]
#[case::http("{jwt: {issuer: 'http://id.example.com', audiences: [m]}}".to_owned(), "an issuer is https://HOST")]
#[case::loopback("{jwt: {issuer: 'http://127.0.0.1:8000', audiences: [m]}}".to_owned(), "only in modelwright run")]
#[case::jwks(format!("{{jwt: {{{JWT}, jwksUri: 'http://id.example.com/k'}}}}"), "jwksUri is https://HOST/PATH")]
#[case::jwks_loopback(format!("{{jwt: {{{JWT}, jwksUri: 'http://localhost/k'}}}}"), "only in modelwright run")]
#[case::secret("{apiKeys: {secretRef: {name: My_Keys}}}".to_owned(), "a Secret's name holds only")]
fn access_that_protects_nothing_or_less_than_it_seems_is_refused(#[case] line: String, #[case] says: &str) {
    let said = refusal(&access(&line), Scope::Cluster);
    assert!(said.contains(says), "{said}");
}

#[rstest]
#[case("http://127.0.0.1:8000/a")]
#[case("http://localhost")]
fn one_machine_may_have_an_issuer_on_itself(#[case] issuer: &str) {
    let text = access(&format!("{{jwt: {{issuer: '{issuer}', audiences: [m]}}}}"));
    parse_for(&text, "bc.yaml", Scope::Machine).unwrap_or_else(|problems| panic!("{problems}"));
}
