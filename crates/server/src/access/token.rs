//! JSON Web Tokens (RFC 7519) of one issuer.

use std::collections::HashSet;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use super::issuer::{Issuer, Key};

/// Clocks differ by less.
const LEEWAY_SECONDS: u64 = 60;
/// The longest name of a subject (OIDC Core §2).
const MAX_SUBJECT: usize = 255;

/// Checks the tokens of one issuer.
#[derive(Debug)]
pub(super) struct Tokens {
    issuer: Arc<Issuer>,
    /// All but the algorithm, which is the key's.
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

/// Whether this looks like a signed token: three parts.
pub(super) fn is_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Tokens {
    pub(super) fn new(issuer: Arc<Issuer>, audiences: Vec<String>) -> Self {
        let mut validation = Validation::default();
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.iss = Some(HashSet::from([issuer.name.clone()]));
        validation.aud = Some(audiences.into_iter().collect());
        Self { issuer, validation }
    }

    /// Whose token it is, or why it is none. Expired tokens and those for somebody else are 401 as well: RFC 6750 §3.1 has one
    /// code for every token that is not valid here, and 403 is for one that is and does not suffice.
    pub(super) async fn verify(&self, token: &str) -> Result<Arc<str>, &'static str> {
        const UNKNOWN: &str =
            "the token is signed with a key or algorithm that the issuer's keys do not have";
        // Unknown algorithms, `none` among them, do not parse.
        let header = decode_header(token).map_err(|_| "this is no JSON Web Token that is taken here")?;
        if header.crit.is_some() {
            return Err("the token has critical extensions, and none is known here");
        }
        let keys = self.issuer.candidates(header.kid.as_deref()).await;
        let mut refusal = UNKNOWN;
        for key in keys.iter().filter(|key| key.algorithm == header.alg) {
            match self.verify_with(token, key) {
                Err(SIGNATURE) => refusal = SIGNATURE,
                decided => return decided,
            }
        }
        Err(refusal)
    }

    fn verify_with(&self, token: &str, key: &Key) -> Result<Arc<str>, &'static str> {
        let validation = Validation { algorithms: vec![key.algorithm], ..self.validation.clone() };
        let claims: Claims =
            decode(token, &key.public, &validation).map_err(|error| why(error.kind()))?.claims;
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT {
            return Err("the token's sub has no text, or more than 255 bytes");
        }
        Ok(format!("sub:{}", claims.sub).into())
    }
}

const SIGNATURE: &str = "the token's signature is wrong";

fn why(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired; get a new one from its issuer",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            "the token lacks exp, iss, aud or sub, or one of them has another type"
        }
        ErrorKind::InvalidSignature => SIGNATURE,
        _ => "this is no JSON Web Token that is taken here",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::time::{SystemTime, UNIX_EPOCH};

    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::{AccessError, Documents, Fetching};
    use super::*;

    const ISSUER: &str = "https://id.example.com";

    /// Signed once with a key that is nowhere any more; it expires in 2100.
    const RS256: &str = concat!(
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjoibW9kZWx",
        "zIiwic3ViIjoic2hvcCIsImV4cCI6NDEwMjQ0NDgwMH0.g2wOPGBIUGML7hCOsxNGHDFl19IO8_8P8hTigtON77avuPI-8Cs",
        "BXuEU5V6FLDG4DU464mn8JIm9jMXDBV8Ay6bdGXx1-KnZ9RN4AkXCUW46Wey5Im9ZlZ3TVgcSeXM7nU4NlgTL3Zwz_A4_gaD",
        "uYf3chQNKpvWp_hlzxR4_ec7CQPn7TEMBIMVnJlSv_4S4A3tX6iB5bKTj-zRMXN2TkvwtfqZvaAXvPkImyaOOVaqvqGzbDkw",
        "2WkrHL7fJn1qs44fA6r0rPX-jd4D0d_s__4QlSIkBMFwH9-uMRDZODrsnatTO4VaPwl3pEWy3uic0qVm815rSKiHBlg-2dcF",
        "xng",
    );
    const MODULUS: &str = concat!(
        "rZjwGMIQAgdLpQV_EAD5J5lVrvH19uiCwc7Ui47mGOwtMS8CHYpEbAtUkIW18ocjRoho6bsmVqGSEHGASwj8EwqMSfzFnbCD",
        "UQ5zsCTVehWsBcHG4UONMuv-ysVabyueZHYU-k72Q1rTI_DyHj9beVXSt4SVStdtkwcR-syrsEpofN7eMdGBlxwcosfVUu2n",
        "XNkqsGpn2k9fDWCdAaDEXRNyxH3PZydbJMu1XTtsSMbi5KCsZ6sjZ0qEhubVeTWbPq9cPYABO1IRzIqHgjxYeHuYHm5Ea4BQ",
        "xvkIsZl5c6V7grqd3fGi-IkHvJ1IDAGYm13kOuw4eoax28l-Zo4Zhw",
    );

    /// Documents by url, and how often each was asked for.
    #[derive(Debug, Default)]
    struct Shelf(Mutex<BTreeMap<String, (Value, usize)>>);

    impl Shelf {
        fn put(&self, url: &str, document: Value) {
            self.0.lock().unwrap().entry(url.to_owned()).or_default().0 = document;
        }

        fn asked(&self, url: &str) -> usize {
            self.0.lock().unwrap().get(url).map_or(0, |(_, asked)| *asked)
        }
    }

    impl Documents for Shelf {
        fn get<'a>(&'a self, url: &'a str, _at_most: usize) -> Fetching<'a> {
            let mut documents = self.0.lock().unwrap();
            let found = documents.get_mut(url).filter(|(document, _)| !document.is_null()).map(
                |(document, asked)| {
                    *asked += 1;
                    document.to_string().into()
                },
            );
            Box::pin(std::future::ready(found.ok_or_else(|| format!("{url} is not there"))))
        }
    }

    struct Signer {
        key: EncodingKey,
        algorithm: Algorithm,
    }

    impl Signer {
        fn es256() -> Self {
            let der = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_der();
            Self { key: EncodingKey::from_ec_der(&der), algorithm: Algorithm::ES256 }
        }

        fn eddsa() -> Self {
            // PKCS#8 before the seed (RFC 8410 §7); what ring writes, the other library does not read.
            let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
            der.extend([7; 32]);
            Self { key: EncodingKey::from_ed_der(&der), algorithm: Algorithm::EdDSA }
        }

        fn jwk(&self, id: Option<&str>) -> Value {
            let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
            jwk.common.key_id = id.map(str::to_owned);
            serde_json::to_value(jwk).unwrap()
        }

        fn sign(&self, id: Option<&str>, claims: &Value) -> String {
            let header = Header { kid: id.map(str::to_owned), ..Header::new(self.algorithm) };
            encode(&header, claims, &self.key).unwrap()
        }
    }

    fn in_seconds(seconds: i64) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        i64::try_from(now).unwrap() + seconds
    }

    fn claims() -> Value {
        json!({"iss": ISSUER, "aud": ["other", "models"], "sub": "shop", "exp": in_seconds(300)})
    }

    fn set(keys: &[Value]) -> Value {
        json!({ "keys": keys })
    }

    const KEYS: &str = "https://keys.example.com/all?p=1";

    fn shelf(keys: &[Value]) -> Arc<Shelf> {
        let shelf = Arc::new(Shelf::default());
        shelf.put(
            "https://id.example.com/.well-known/openid-configuration",
            json!({"issuer": ISSUER, "jwks_uri": KEYS, "more": []}),
        );
        shelf.put(KEYS, set(keys));
        shelf
    }

    async fn tokens(shelf: &Arc<Shelf>) -> Result<Tokens, AccessError> {
        let documents = Arc::clone(shelf) as Arc<dyn Documents>;
        let issuer = Issuer::open(ISSUER.to_owned(), None, documents).await?;
        Ok(Tokens::new(Arc::new(issuer), vec!["models".to_owned()]))
    }

    #[tokio::test]
    async fn tokens_of_each_algorithm_are_taken() {
        let (first, second) = (Signer::es256(), Signer::eddsa());
        let rsa = json!({"kty": "RSA", "kid": "rsa", "alg": "RS256", "n": MODULUS, "e": "AQAB"});
        let tokens = tokens(&shelf(&[first.jwk(Some("1")), second.jwk(None), rsa])).await.unwrap();
        for token in [
            first.sign(Some("1"), &claims()),
            first.sign(None, &claims()),
            second.sign(Some("2"), &claims()),
            RS256.to_owned(),
        ] {
            assert!(is_token(&token));
            assert_eq!(tokens.verify(&token).await.as_deref(), Ok("sub:shop"), "{token}");
        }
    }

    #[rstest]
    #[case("exp", json!(in_seconds(-70)), "has expired")]
    #[case("exp", Value::Null, "lacks exp")]
    #[case("exp", json!("soon"), "lacks exp")]
    #[case("nbf", json!(in_seconds(90)), "not valid yet")]
    #[case("iss", json!("https://id.example.com/"), "another issuer")]
    #[case("iss", Value::Null, "lacks exp, iss")]
    #[case("aud", json!("model"), "another audience")]
    #[case("aud", json!([]), "another audience")]
    #[case("aud", Value::Null, "lacks exp, iss, aud")]
    #[case("sub", json!(""), "sub has no text")]
    #[case("sub", json!("s".repeat(256)), "255 bytes")]
    #[case("sub", Value::Null, "no JSON Web Token")]
    #[tokio::test]
    async fn a_wrong_claim_is_named(#[case] claim: &str, #[case] value: Value, #[case] says: &str) {
        let signer = Signer::es256();
        let tokens = tokens(&shelf(&[signer.jwk(Some("1"))])).await.unwrap();
        let mut claims = claims();
        claims[claim] = value;
        let refusal = tokens.verify(&signer.sign(Some("1"), &claims)).await.unwrap_err();
        assert!(refusal.contains(says), "{refusal}");
    }

    #[tokio::test]
    async fn clocks_may_differ_by_a_minute() {
        let signer = Signer::eddsa();
        let tokens = tokens(&shelf(&[signer.jwk(None)])).await.unwrap();
        let mut claims = claims();
        claims["exp"] = json!(in_seconds(-50));
        claims["nbf"] = json!(in_seconds(50));
        tokens.verify(&signer.sign(None, &claims)).await.unwrap();
    }

    #[tokio::test]
    async fn forged_tokens_are_refused() {
        let (signer, stranger) = (Signer::es256(), Signer::es256());
        let jwk = signer.jwk(Some("1"));
        let tokens = tokens(&shelf(std::slice::from_ref(&jwk))).await.unwrap();
        let good = signer.sign(Some("1"), &claims());
        let (head, rest) = good.split_once('.').unwrap();
        let payload = rest.split_once('.').unwrap().0;
        // {"alg":"none"}, and one that says HS256 with what is public as the secret.
        let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
        let secret = EncodingKey::from_secret(jwk["x"].as_str().unwrap().as_bytes());
        let hs256 = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::HS256) };
        let confused = encode(&hs256, &claims(), &secret).unwrap();
        let critical = Header {
            kid: Some("1".to_owned()),
            crit: Some(vec!["exp".to_owned()]),
            ..Header::new(Algorithm::ES256)
        };
        let critical = encode(&critical, &claims(), &signer.key).unwrap();
        for (token, says) in [
            (stranger.sign(Some("1"), &claims()), "signature is wrong"),
            (format!("{head}.{payload}.AAAA"), "signature is wrong"),
            (none, "no JSON Web Token"),
            (confused, "key or algorithm"),
            (critical, "critical extensions"),
            ("a.b.c".to_owned(), "no JSON Web Token"),
            (String::new(), "no JSON Web Token"),
        ] {
            let refusal = tokens.verify(&token).await.unwrap_err();
            assert!(refusal.contains(says), "{token}: {refusal}");
        }
    }

    #[tokio::test]
    async fn a_new_key_is_fetched_once_and_former_keys_work_while_the_issuer_is_away() {
        let (old, new) = (Signer::es256(), Signer::es256());
        let shelf = shelf(&[old.jwk(Some("old"))]);
        let tokens = tokens(&shelf).await.unwrap();
        let issuer = Arc::clone(&tokens.issuer);
        let fresh = tokio::spawn(async move { issuer.keep_fresh().await });
        shelf.put(KEYS, set(&[old.jwk(Some("old")), new.jwk(Some("new"))]));
        tokens.verify(&new.sign(Some("new"), &claims())).await.unwrap();
        assert_eq!(shelf.asked(KEYS), 2);
        // Made-up keys are no reason to ask again so soon.
        for _ in 0..3 {
            let made_up = tokens.verify(&new.sign(Some("made-up"), &claims())).await;
            assert!(made_up.unwrap_err().contains("key or algorithm"));
        }
        assert_eq!(shelf.asked(KEYS), 2);
        shelf.put(KEYS, Value::Null);
        tokens.verify(&old.sign(Some("old"), &claims())).await.unwrap();
        fresh.abort();
    }

    #[rstest]
    #[case(json!({"issuer": "https://id.example.com/", "jwks_uri": KEYS}), "another issuer, \"https://id.example.com/\"")]
    #[case(json!({"issuer": ISSUER, "jwks_uri": "http://keys.example.com"}), "jwks_uri without TLS")]
    #[case(json!({"issuer": ISSUER}), "no discovery document")]
    #[case(json!({"issuer": ISSUER, "jwks_uri": "https://keys.example.com/none"}), "is not there")]
    #[tokio::test]
    async fn discovery_that_leads_nowhere_is_an_error(#[case] document: Value, #[case] says: &str) {
        let shelf = shelf(&[Signer::es256().jwk(None)]);
        shelf.put("https://id.example.com/.well-known/openid-configuration", document);
        let error = tokens(&shelf).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[tokio::test]
    async fn keys_that_sign_nothing_that_is_taken_are_an_error() {
        let error = tokens(&shelf(&[json!({"kty": "oct", "k": "AAAA"})])).await.unwrap_err().to_string();
        assert!(error.contains("has no key for RS256, ES256 or EdDSA"), "{error}");
    }
}
