//! Packing answers for clients that ask for it.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};

use crate::answer::Response;
use crate::memory::keeping;
use crate::workers::Workers;

/// Shorter answers fit into a packet or two as they are.
const LEAST: usize = 1 << 10;
/// Longer ones are packed on a thread for blocking work: more than about a tenth of a millisecond would hold up the other
/// connections of the I/O thread.
const BLOCKING_ABOVE: usize = 16 << 10;

/// How an answer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

/// What a client takes, the better of the two that there are; `None`: the answer as it is.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let (mut gzip, mut deflate, mut any) = (None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or("").split(',') {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight(parameters);
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "deflate" => deflate = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
    }
    let weigh = |named: Option<f32>| named.or(any).unwrap_or(0.0);
    match (weigh(gzip), weigh(deflate)) {
        (gzip, deflate) if gzip <= 0.0 && deflate <= 0.0 => None,
        (gzip, deflate) if gzip >= deflate => Some(Coding::Gzip),
        _ => Some(Coding::Deflate),
    }
}

/// `q=0.5`; 1 if there is none, 0 if it makes no sense.
fn weight(parameters: &str) -> f32 {
    match parameters.trim().strip_prefix("q=").or_else(|| parameters.trim().strip_prefix("Q=")) {
        Some(weight) => weight.trim().parse().unwrap_or(0.0),
        None => 1.0,
    }
}

/// Packs an answer if the request asks for it and it is worth it.
pub(crate) async fn answer(workers: &Workers, request: &HeaderMap, response: Response) -> Response {
    if response.body().len() < LEAST {
        return response;
    }
    let coding = accepted(request);
    if coding.is_none() || response.body().len() < BLOCKING_ABOVE {
        return packed(response, coding);
    }
    let (head, body) = response.into_parts();
    let plain = Response::from_parts(head.clone(), body.clone());
    // Should packing fail, which would be a bug, the answer as it is will do.
    let work = move || packed(Response::from_parts(head, body), coding);
    workers.run(work).await.unwrap_or(plain)
}

/// Packs an answer here and now, unless it is short or would not become shorter.
pub(crate) fn packed(mut response: Response, coding: Option<Coding>) -> Response {
    if response.body().len() < LEAST || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    // The next client may ask for something else: a cache must know.
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = coding else { return response };
    match pack(coding, response.body()) {
        Ok(short) if short.len() < response.body().len() => {
            let name = match coding {
                Coding::Gzip => "gzip",
                Coding::Deflate => "deflate",
            };
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
            // What the plain answer keeps is counted for the request until its answer is written.
            response.map(|plain| keeping(short, plain))
        }
        _ => response,
    }
}

/// The fastest level: packing must not cost more than the network that it saves.
fn pack(coding: Coding, body: &Bytes) -> std::io::Result<Vec<u8>> {
    let room = Vec::with_capacity(body.len() / 2);
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(room, Compression::fast());
            encoder.write_all(body)?;
            encoder.finish()
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(room, Compression::fast());
            encoder.write_all(body)?;
            encoder.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http::StatusCode;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", None)]
    #[case("identity", None)]
    #[case("br, zstd", None)]
    #[case("gzip", Some(Coding::Gzip))]
    #[case("deflate, gzip", Some(Coding::Gzip))]
    #[case("GZIP;q=0.5, deflate;q=0.8", Some(Coding::Deflate))]
    #[case("gzip;q=0, deflate;q=0", None)]
    #[case("gzip; q=0, *", Some(Coding::Deflate))]
    #[case("*", Some(Coding::Gzip))]
    #[case("*;q=0", None)]
    #[case("gzip;q=nonsense", None)]
    fn the_clients_preference_decides(#[case] value: &'static str, #[case] coding: Option<Coding>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        assert_eq!(accepted(&headers), coding);
    }

    fn response(body: Vec<u8>) -> Response {
        crate::answer::with_type(StatusCode::OK, HeaderValue::from_static("text/plain"), body)
    }

    #[test]
    fn a_long_answer_is_packed_and_a_short_one_is_not() {
        let text = b"0.25,".repeat(1000);
        let answer = packed(response(text.clone()), Some(Coding::Deflate));
        assert_eq!(answer.headers()[CONTENT_ENCODING], "deflate");
        assert_eq!(answer.headers()[VARY], "accept-encoding");
        let mut plain = Vec::new();
        flate2::read::ZlibDecoder::new(answer.body().as_ref()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, text);
        let short = packed(response(vec![b'x'; LEAST - 1]), Some(Coding::Gzip));
        assert!(!short.headers().contains_key(CONTENT_ENCODING) && !short.headers().contains_key(VARY));
    }

    #[test]
    fn an_answer_that_does_not_shrink_stays_as_it_is() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        })
        .take(4000)
        .collect();
        let answer = packed(response(noise.clone()), Some(Coding::Gzip));
        assert_eq!(answer.body(), &noise);
        assert!(answer.headers().contains_key(VARY) && !answer.headers().contains_key(CONTENT_ENCODING));
    }
}
