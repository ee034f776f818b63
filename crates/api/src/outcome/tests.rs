use proptest::prelude::*;

use super::*;

fn sample() -> Outcome {
    Outcome {
        ok: true,
        reason: "Resolved".into(),
        digest: Some(format!("sha256:{}", "0123456789abcdef".repeat(4))),
        bytes: Some(14_312),
        retrievable: Some(Retrievable::WhileUnchanged),
        fingerprint: Some(format!("sha256:{}", "fedcba9876543210".repeat(4))),
        message: "one ONNX file, \"model.onnx\"".into(),
        metrics: [("valAccuracy".to_owned(), 0.96)].into(),
        inputs: vec![OutcomeTensor { name: "input".into(), datatype: "FP32".into(), shape: vec![-1, 4] }],
        inputs_total: Some(1),
        model: Some(OutcomeModel { opset: Some(17), ir_version: Some(8), parameters_bytes: Some(600) }),
        runtime: None,
        outputs: vec![OutcomeTensor { name: "output".into(), datatype: "FP32".into(), shape: vec![-1, 3] }],
        outputs_total: Some(1),
        inputs_digest: Some("sha256:ab".into()),
        baseline: [("valAccuracy".to_owned(), 0.5)].into(),
        revisions: vec!["0123456789abcdef".into()],
        cut: false,
    }
}

#[test]
fn keys_stand_in_the_contracts_order() {
    let (digest, fingerprint) = (sample().digest.unwrap(), sample().fingerprint.unwrap());
    let expected = [
        r#"{"v":1,"ok":true,"reason":"Resolved","digest":""#,
        &digest,
        r#"","bytes":14312,"retrievable":"WhileUnchanged","fingerprint":""#,
        &fingerprint,
        r#"","inputsDigest":"sha256:ab","message":"one ONNX file, \"model.onnx\"","metrics":{"valAccuracy":0.96},"#,
        r#""baseline":{"valAccuracy":0.5},"revisions":["0123456789abcdef"],"#,
        r#""inputs":[{"name":"input","datatype":"FP32","shape":[-1,4]}],"inputsTotal":1,"#,
        r#""model":{"opset":17,"irVersion":8,"parametersBytes":600},"#,
        r#""outputs":[{"name":"output","datatype":"FP32","shape":[-1,3]}],"outputsTotal":1}"#,
    ];
    assert_eq!(sample().to_line(), expected.concat());
    let runtime =
        OutcomeRuntime { execution_provider: Some(ExecutionProvider::Cuda), version: Some("1.32.0".into()) };
    assert_eq!(
        Outcome { runtime: Some(runtime), ..Outcome::success("Terminated") }.to_line(),
        r#"{"v":1,"ok":true,"reason":"Terminated","message":"","runtime":{"executionProvider":"CUDA","version":"1.32.0"}}"#
    );
    assert_eq!(
        Outcome::failure("SourceMissing", "no such bucket").to_line(),
        r#"{"v":1,"ok":false,"reason":"SourceMissing","message":"no such bucket"}"#
    );
}

#[test]
fn unknown_values_of_later_versions_are_passed_over() {
    let line = r#"{"v":2,"ok":true,"reason":"R","retrievable":"Sometimes","message":"m",
        "model":{"opset":"new","irVersion":8},"runtime":{"executionProvider":"CPU","more":1},"colour":"red"}"#;
    let read = Outcome::read(line).unwrap();
    assert_eq!((read.retrievable, read.model), (None, None));
    assert_eq!(read.runtime.unwrap().execution_provider, Some(ExecutionProvider::Cpu));
    assert_eq!((read.message.as_str(), read.cut), ("m", false));
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
fn outputs_are_dropped_first_then_the_model_and_inputs_last() {
    let tensor = |size: usize| OutcomeTensor { name: "n".repeat(size), ..OutcomeTensor::default() };
    let read = |inputs: Vec<OutcomeTensor>, outputs: Vec<OutcomeTensor>| {
        let outcome = Outcome { inputs, outputs, outputs_total: None, ..sample() };
        Outcome::read(&outcome.to_line()).unwrap()
    };
    let some = read(vec![tensor(40); 2], vec![tensor(100); 4]);
    assert!((1..4).contains(&some.outputs.len()) && some.inputs.len() == 2, "{some:?}");
    assert_eq!((some.outputs_total, some.model), (Some(4), sample().model));
    let none = read(vec![tensor(200); 3], vec![tensor(100); 4]);
    assert_eq!((none.outputs.len(), none.model, none.outputs_total), (0, None, Some(4)));
    for read in [some, none] {
        assert!(!read.inputs.is_empty() && !read.message.is_empty());
        assert_eq!((read.digest, read.fingerprint), (sample().digest, sample().fingerprint));
    }
}

#[test]
fn inputs_are_dropped_when_the_message_has_no_room() {
    let input = OutcomeTensor { name: "n".repeat(200), datatype: "FP32".into(), shape: vec![-1] };
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
    let tensor = || {
        ("\\PC{0,60}", "[A-Z0-9]{1,6}", prop::collection::vec(-1_i64..1_000, 0..4))
            .prop_map(|(name, datatype, shape)| OutcomeTensor { name, datatype, shape })
    };
    let digest = || prop::option::of("sha256:[0-9a-f]{64}");
    let model = (prop::option::of(any::<i64>()), prop::option::of(any::<u64>()))
        .prop_map(|(opset, parameters_bytes)| OutcomeModel { opset, parameters_bytes, ir_version: opset });
    let deciding = (any::<bool>(), "[A-Za-z]{1,40}", digest(), prop::option::of(any::<u64>()), digest());
    let describing = (
        any::<String>(),
        prop::collection::btree_map("[a-zA-Z]{1,12}", any::<f64>(), 0..6),
        prop::collection::vec(tensor(), 0..12),
        prop::option::of(any::<u32>()),
        prop::option::of(model),
        prop::collection::vec(tensor(), 0..12),
    );
    (deciding, describing).prop_map(
        |(
            (ok, reason, digest, bytes, fingerprint),
            (message, metrics, inputs, inputs_total, model, outputs),
        )| Outcome {
            ok,
            reason,
            digest,
            bytes,
            retrievable: bytes.map(|_| Retrievable::Always),
            fingerprint,
            message,
            metrics,
            inputs,
            inputs_total,
            model,
            runtime: None,
            outputs,
            outputs_total: inputs_total,
            inputs_digest: None,
            baseline: BTreeMap::new(),
            revisions: Vec::new(),
            cut: false,
        },
    )
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
        prop_assert_eq!(&read.fingerprint, &outcome.fingerprint);
        prop_assert_eq!(read.retrievable, outcome.retrievable);
        let written = read.message.strip_suffix('…').unwrap_or(&read.message);
        prop_assert!(outcome.message.starts_with(written));
        prop_assert!(outcome.inputs.starts_with(&read.inputs));
        prop_assert!(outcome.outputs.starts_with(&read.outputs));
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
