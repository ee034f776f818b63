//! Valid bodies, damaged at random: nothing panics, and nothing is accepted that does not fit the model.
//!
//! Runs some thousand cases, the same ones every time; `MODELWRIGHT_FUZZ_SECONDS` makes it go on with others for so long.

use std::time::{Duration, Instant};

use super::*;
use crate::v1;

const CASES: u64 = 20_000;

/// A stream of numbers from a seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    /// A number below `bound`, or 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap().checked_rem(bound).unwrap_or(0)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

fn signature() -> Signature {
    Signature {
        inputs: vec![
            metadata("x", Datatype::Fp32, &[-1, 2]),
            metadata("d", Datatype::Fp64, &[-1]),
            metadata("i", Datatype::Int64, &[2]),
            metadata("b", Datatype::Bool, &[-1]),
            metadata("s", Datatype::Bytes, &[-1, -1]),
        ],
        outputs: vec![metadata("y", Datatype::Fp32, &[-1])],
    }
}

/// Bodies to start from, with the length of their JSON.
fn seeds() -> Vec<(Vec<u8>, Option<usize>)> {
    let json = r#"{"id":"1","parameters":{"timeout":5,"p":1.5},"inputs":[
        {"name":"x","shape":[2,2],"datatype":"FP32","data":[[1.5,-2e-3],[0.123456789,4]]},
        {"data":[0.30000000000000004,1e22,12345678901234567890],"name":"d","shape":[3],"datatype":"FP64"},
        {"name":"i","datatype":"INT64","shape":[2],"data":[-9223372036854775808,7]},
        {"name":"b","shape":[2],"datatype":"BOOL","data":[true,false]},
        {"name":"s","shape":[1,2],"datatype":"BYTES","data":[["\u00e9\ud83d\ude00","b"]]}],
        "outputs":[{"name":"y","parameters":{"classification":2,"binary_data":true}}]}"#;
    let binary = r#"{"inputs":[
        {"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},
        {"name":"d","shape":[1],"datatype":"FP64","parameters":{"binary_data_size":8}},
        {"name":"i","shape":[2],"datatype":"INT64","data":[1,2]},
        {"name":"b","shape":[3],"datatype":"BOOL","parameters":{"binary_data_size":3}},
        {"name":"s","shape":[1,2],"datatype":"BYTES","parameters":{"binary_data_size":10}}]}"#;
    let tail = [&[0_u8; 8][..], &[0x3f; 8], &[1, 0, 1], &[1, 0, 0, 0, b'a', 1, 0, 0, 0, b'b']].concat();
    let rows = r#"{"instances":[{"x":[1,2],"d":0.5,"i":1,"b":true,"s":["a"]},{"x":[3,4],"d":5,"i":2,"b":false,"s":["b"]}]}"#;
    vec![
        (json.as_bytes().to_vec(), None),
        ([binary.as_bytes(), &tail].concat(), Some(binary.len())),
        (rows.as_bytes().to_vec(), None),
    ]
}

/// Damages a body in one of the ways in which bodies break, or a fuzzer breaks them.
fn damage(random: &mut Random, body: &mut Vec<u8>, seeds: &[(Vec<u8>, Option<usize>)]) {
    const PIECES: [&[u8]; 16] = [
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b"\"",
        b"-",
        b".",
        b"e",
        b"0",
        b"99999999999999999999",
        b"1e999",
        b"null",
        b"NaN",
        b"\\u",
        b"\"data\":[",
    ];
    let at = random.below(body.len() + 1);
    let end = (at + random.below(12)).min(body.len());
    match random.below(6) {
        0 if at < body.len() => body[at] ^= 1 << random.below(8),
        1 if at < body.len() => body[at] = u8::try_from(random.below(256)).unwrap(),
        2 => body.truncate(at),
        3 => drop(body.drain(at..end)),
        4 => {
            let piece = random.pick(&PIECES).to_vec();
            body.splice(at..at, piece);
        }
        _ => {
            let other = &seeds[random.below(seeds.len())].0;
            let from = random.below(other.len());
            let piece = other[from..(from + random.below(60)).min(other.len())].to_vec();
            body.splice(at..end, piece);
        }
    }
}

/// Reads a body every way there is; what is accepted must fit the model and take no more than its bound.
fn check(body: &[u8], header: Option<usize>, signature: &Signature) {
    let limits = Limits::default();
    let accepted = [
        parse_infer_request(body, header, signature, &limits).map(|request| request.inputs),
        v1::parse_predict_request(body, signature, &limits),
    ];
    for tensors in accepted.into_iter().flatten() {
        let mut memory = 0;
        for tensor in &tensors {
            signature.accepts(tensor).unwrap();
            memory += match tensor.data() {
                TensorData::Bytes(texts) => texts.iter().map(|text| text.len() + size_of::<Bytes>()).sum(),
                data => data.len() * data.datatype().size().unwrap(),
            };
        }
        assert!(memory <= 16 * body.len(), "{memory} bytes for a body of {}", body.len());
    }
}

#[test]
fn damaged_bodies_never_panic_nor_pass_for_what_they_are_not() {
    let (signature, seeds) = (signature(), seeds());
    for (body, header) in &seeds[..2] {
        parse_infer_request(body, *header, &signature, &Limits::default()).unwrap();
    }
    let seconds =
        std::env::var("MODELWRIGHT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (start, duration) = (Instant::now(), Duration::from_secs(seconds));
    let mut case = 0;
    while case < CASES || start.elapsed() < duration {
        let mut random = Random(case);
        let (mut body, mut header) = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            damage(&mut random, &mut body, &seeds);
        }
        if random.below(8) == 0 {
            header = Some(random.below(body.len() + 2));
        }
        let run = std::panic::catch_unwind(|| check(&body, header, &signature));
        assert!(run.is_ok(), "case {case}, header {header:?}: {:?}", String::from_utf8_lossy(&body));
        case += 1;
    }
}
