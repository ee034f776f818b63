use proptest::prelude::*;

use super::*;

fn sample() -> Outcome {
    Outcome {
        ok: true,
        reason: "Resolved".into(),
        digest: Some(format!("sha256:{}", "0123456789abcdef".repeat(4))),
        bytes: Some(14_312),
        message: "one ONNX file, \"model.onnx\"".into(),
        metrics: [("valAccuracy".to_owned(), 0.96)].into(),
        inputs: vec![OutcomeInput { name: "input".into(), datatype: "FP32".into(), shape: vec![-1, 4] }],
        inputs_total: Some(1),
        cut: false,
    }
}

#[test]
fn keys_stand_in_the_contracts_order() {
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(
        sample().to_line(),
        format!(
            "{{\"v\":1,\"ok\":true,\"reason\":\"Resolved\",\"digest\":\"sha256:{digest}\",\"bytes\":14312,\
             \"message\":\"one ONNX file, \\\"model.onnx\\\"\",\"metrics\":{{\"valAccuracy\":0.96}},\
             \"inputs\":[{{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[-1,4]}}],\"inputsTotal\":1}}"
        )
    );
    assert_eq!(
        Outcome::failure("SourceMissing", "no such bucket").to_line(),
        r#"{"v":1,"ok":false,"reason":"SourceMissing","message":"no such bucket"}"#
    );
}

#[test]
fn long_message_is_shortened_before_inputs_are_dropped() {
    let outcome = Outcome { message: "é".repeat(2_000), ..sample() };
    let line = outcome.to_line();
    assert!(line.len() <= OUTCOME_MAX_BYTES && line.len() > OUTCOME_MAX_BYTES - 8, "{}", line.len());
    let read = Outcome::read(&line).unwrap();
    assert!(read.message.ends_with('…') && !read.cut);
    assert_eq!(read.inputs, outcome.inputs);
}

#[test]
fn inputs_are_dropped_when_the_message_has_no_room() {
    let input = OutcomeInput { name: "n".repeat(200), datatype: "FP32".into(), shape: vec![-1] };
    let outcome =
        Outcome { message: "m".repeat(500), inputs: vec![input; 20], inputs_total: None, ..sample() };
    let read = Outcome::read(&outcome.to_line()).unwrap();
    assert!(read.inputs.len() < 8 && read.message.len() >= 100, "{read:?}");
    assert_eq!(read.inputs_total, Some(20));
    assert_eq!(read.digest, outcome.digest);
}

#[test]
fn cut_line_keeps_what_stands_before_the_cut() {
    let line = sample().to_line();
    let at = |needle: &str| line.find(needle).unwrap();
    let cut = Outcome::read(&line[..at("model.onnx") + 3]).unwrap();
    assert_eq!((cut.message.as_str(), cut.cut), ("one ONNX file, \"mod", true));
    let cut = Outcome::read(&line[..at("14312") + 2]).unwrap();
    assert_eq!((cut.bytes, cut.digest), (None, sample().digest), "a cut number is no number");
    let cut = Outcome::read(&line[..at("\"digest")]).unwrap();
    assert_eq!((cut.ok, cut.reason.as_str()), (true, "Resolved"));
}

#[test]
fn other_texts_are_no_outcome() {
    for text in
        ["", "{", "{\"v\":1", "panicked at src/main.rs", "[]", "{\"ok\":1}", "{]}", &"{".repeat(5_000)]
    {
        assert_eq!(Outcome::read(text), None, "{text}");
    }
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let input = ("\\PC{0,60}", "[A-Z0-9]{1,6}", prop::collection::vec(-1_i64..1_000, 0..4))
        .prop_map(|(name, datatype, shape)| OutcomeInput { name, datatype, shape });
    (
        any::<bool>(),
        "[A-Za-z]{1,40}",
        prop::option::of("sha256:[0-9a-f]{64}"),
        prop::option::of(any::<u64>()),
        any::<String>(),
        prop::collection::btree_map("[a-zA-Z]{1,12}", any::<f64>(), 0..6),
        prop::collection::vec(input, 0..12),
        prop::option::of(any::<u32>()),
    )
        .prop_map(|(ok, reason, digest, bytes, message, metrics, inputs, inputs_total)| Outcome {
            ok,
            reason,
            digest,
            bytes,
            message,
            metrics,
            inputs,
            inputs_total,
            cut: false,
        })
}

proptest! {
    #[test]
    fn line_is_bounded_and_reads_back(outcome in any_outcome()) {
        let line = outcome.to_line();
        prop_assert!(line.len() <= OUTCOME_MAX_BYTES, "{} bytes", line.len());
        prop_assert!(!line.contains('\n'));
        let read = Outcome::read(&line).unwrap();
        prop_assert!(!read.cut);
        prop_assert_eq!(read.ok, outcome.ok);
        prop_assert_eq!(&read.reason, &outcome.reason);
        prop_assert_eq!(&read.digest, &outcome.digest);
        prop_assert_eq!(read.bytes, outcome.bytes);
        let written = read.message.strip_suffix('…').unwrap_or(&read.message);
        prop_assert!(outcome.message.starts_with(written));
        prop_assert!(outcome.inputs.starts_with(&read.inputs));
    }

    #[test]
    fn any_cut_after_the_reason_still_gives_the_reason(outcome in any_outcome(), at in 0_usize..=1_000) {
        let line = outcome.to_line();
        let after_reason = line.find("\"reason\"").unwrap() + 10 + outcome.reason.len() + 1;
        let end = after_reason + (line.len() - after_reason) * at / 1_000;
        let cut = &line[..line.floor_char_boundary(end)];
        let read = Outcome::read(cut).unwrap();
        prop_assert_eq!(read.ok, outcome.ok);
        prop_assert_eq!(&read.reason, &outcome.reason);
        if let Some(bytes) = read.bytes {
            prop_assert_eq!(Some(bytes), outcome.bytes);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Outcome::read(&text);
    }

    #[test]
    fn any_json_like_text_is_read_or_refused(text in "[\\[\\]{}\",:\\\\u0-9a-e.-]{0,120}") {
        let _ = Outcome::read(&text);
    }
}
