use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// What a training of this `builtin` resolves to.
fn builtin(json: Value) -> ResolvedBuiltin {
    serde_json::from_value::<Builtin>(json).unwrap().resolved()
}

fn training(json: Value) -> ResolvedTraining {
    serde_json::from_value::<Training>(json).unwrap().resolved()
}

#[test]
fn training_of_only_what_is_required_has_every_default() {
    let resolved = training(json!({"data": {"source": {"uri": "file:t.csv"}, "target": "label"}}));
    assert_eq!(resolved.target, "label");
    assert_eq!(resolved.delimiters, Delimiters { training: ',', validation: ',', test: ',' });
    assert_eq!(resolved.validation, ResolvedValidation { fraction: Some(0.2), stratify: true });
    assert_eq!(
        resolved.builtin,
        ResolvedBuiltin {
            task: None,
            columns: Vec::new(),
            inputs: None,
            layers: vec![ResolvedLayer { units: 128, activation: Activation::Relu, dropout: 0.0, l2: 0.0 }],
            loss: None,
            optimizer: ResolvedOptimizer {
                learning_rate: 0.001,
                method: Method::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            },
            schedule: ResolvedSchedule::Constant,
            epochs: 200,
            batch_size: Some(32),
            early_stopping: Some(ResolvedEarlyStopping {
                monitor: "valLoss".to_owned(),
                patience: 10,
                min_delta: 0.0,
                restore_best: true,
            }),
            class_weights: ResolvedClassWeights::None,
            seed: 0,
            threads: 1,
        }
    );
}

#[test]
fn empty_builtin_is_an_absent_one() {
    let data = json!({"source": {"uri": "file:t.csv"}, "target": "label"});
    assert_eq!(training(json!({"data": data, "builtin": {}})), training(json!({"data": data})));
}

#[rstest]
#[case(json!({"kind": "SGD"}), 0.01, Method::Sgd { momentum: 0.0, nesterov: false })]
#[case(
    json!({"kind": "SGD", "learningRate": 1, "momentum": 0.5, "nesterov": true}),
    1.0,
    Method::Sgd { momentum: 0.5, nesterov: true }
)]
#[case(json!({"beta1": 0.5}), 0.001, Method::Adam { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 })]
#[case(
    json!({"kind": "AdamW", "beta2": 0.5}),
    0.001,
    Method::AdamW { beta1: 0.9, beta2: 0.5, epsilon: 1e-8, weight_decay: 0.01 }
)]
#[case(
    json!({"kind": "RMSProp", "epsilon": 0.1}),
    0.001,
    Method::RmsProp { rho: 0.99, epsilon: 0.1, momentum: 0.0 }
)]
fn optimizer_has_the_numbers_of_its_kind(
    #[case] optimizer: Value,
    #[case] learning_rate: f64,
    #[case] method: Method,
) {
    let resolved = builtin(json!({"optimizer": optimizer})).optimizer;
    assert_eq!(resolved, ResolvedOptimizer { learning_rate, method });
}

#[rstest]
#[case(json!({}), ResolvedSchedule::Constant)]
#[case(json!({"kind": "Cosine"}), ResolvedSchedule::Cosine)]
#[case(json!({"kind": "Step"}), ResolvedSchedule::Step { every_epochs: 10, factor: 0.1 })]
#[case(
    json!({"kind": "Step", "everyEpochs": 3, "factor": 0.5}),
    ResolvedSchedule::Step { every_epochs: 3, factor: 0.5 }
)]
fn schedule_has_the_numbers_of_its_kind(#[case] schedule: Value, #[case] expected: ResolvedSchedule) {
    assert_eq!(builtin(json!({"schedule": schedule})).schedule, expected);
}

#[rstest]
#[case(json!({"fullBatch": true}), None)]
#[case(json!({"fullBatch": false, "batchSize": 8}), Some(8))]
#[case(json!({"batchSize": 64}), Some(64))]
fn whole_batch_has_no_size(#[case] json: Value, #[case] expected: Option<u32>) {
    assert_eq!(builtin(json).batch_size, expected);
}

#[rstest]
#[case(json!({"mode": "None"}), ResolvedClassWeights::None)]
#[case(json!({"mode": "Balanced"}), ResolvedClassWeights::Balanced)]
#[case(
    json!({"mode": "Values", "values": {"a": 2}}),
    ResolvedClassWeights::Values(BTreeMap::from([("a".to_owned(), 2.0)]))
)]
fn class_weights_follow_their_mode(#[case] weights: Value, #[case] expected: ResolvedClassWeights) {
    assert_eq!(builtin(json!({"classWeights": weights})).class_weights, expected);
}

#[test]
fn other_written_settings_win() {
    let resolved = builtin(json!({
        "layers": [{"units": 3, "activation": "Tanh", "dropout": 0.5, "l2": 1}, {"units": 2}],
        "earlyStopping": {"patience": 3, "restoreBest": false},
        "epochs": 7, "seed": 9_007_199_254_740_991_u64, "threads": 4,
    }));
    let [first, second] = resolved.layers.as_slice() else { panic!("{:?}", resolved.layers) };
    assert_eq!(*first, ResolvedLayer { units: 3, activation: Activation::Tanh, dropout: 0.5, l2: 1.0 });
    assert_eq!(*second, ResolvedLayer { units: 2, activation: Activation::Relu, dropout: 0.0, l2: 0.0 });
    assert_eq!((resolved.epochs, resolved.seed, resolved.threads), (7, 9_007_199_254_740_991, 4));
    let stopping = resolved.early_stopping.unwrap();
    assert_eq!((stopping.patience, stopping.restore_best, stopping.monitor.as_str()), (3, false, MONITOR));
    assert_eq!(builtin(json!({"earlyStopping": {"enabled": false, "patience": 3}})).early_stopping, None);
    assert!(builtin(json!({"layers": []})).layers.is_empty());
}

#[rstest]
#[case(json!({"source": {"uri": "file:t", "delimiter": ";"}}), (';', ',', ','))]
#[case(json!({"source": {"uri": "file:t", "delimiter": "\\t"}}), ('\t', ',', ','))]
#[case(json!({"source": {"uri": "file:t", "delimiter": "\t"}}), ('\t', ',', ','))]
#[case(json!({"source": {"uri": "file:t", "delimiter": "\\"}}), ('\\', ',', ','))]
#[case(
    json!({
        "source": {"uri": "file:t"},
        "validation": {"source": {"uri": "file:v", "delimiter": "|"}},
        "test": {"source": {"uri": "file:u", "delimiter": " "}},
    }),
    (',', '|', ' ')
)]
fn each_set_of_rows_has_its_own_delimiter(#[case] mut data: Value, #[case] expected: (char, char, char)) {
    data["target"] = json!("label");
    let delimiters = training(json!({"data": data})).delimiters;
    assert_eq!((delimiters.training, delimiters.validation, delimiters.test), expected);
}

#[test]
fn rows_of_their_own_leave_the_training_rows_whole() {
    let data =
        |validation: Value| json!({"source": {"uri": "file:t"}, "target": "label", "validation": validation});
    let resolved = |validation| training(json!({"data": data(validation)})).validation;
    assert_eq!(resolved(json!({"source": {"uri": "file:v"}})).fraction, None);
    assert_eq!(
        resolved(json!({"fraction": 0.5, "stratify": false})),
        ResolvedValidation { fraction: Some(0.5), stratify: false }
    );
}

/// A training's identity is this text, so it may change only on purpose.
#[test]
fn json_is_all_that_changes_the_result_and_nothing_else() {
    let data = json!({"source": {"uri": "file:t.csv"}, "target": "label"});
    let resolved = training(json!({"data": data, "builtin": {"threads": 4}}));
    assert_eq!(
        serde_json::to_value(&resolved).unwrap(),
        json!({
            "target": "label",
            "delimiters": {"training": ",", "validation": ",", "test": ","},
            "validation": {"fraction": 0.2, "stratify": true},
            "builtin": {
                "task": null,
                "columns": [],
                "inputs": null,
                "layers": [{"units": 128, "activation": "Relu", "dropout": 0.0, "l2": 0.0}],
                "loss": null,
                "optimizer": {
                    "learningRate": 0.001,
                    "method": {"Adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}},
                },
                "schedule": "Constant",
                "epochs": 200,
                "batchSize": 32,
                "earlyStopping": {"monitor": "valLoss", "patience": 10, "minDelta": 0.0, "restoreBest": true},
                "classWeights": "None",
                "seed": 0,
            },
        })
    );
}

#[rstest]
#[case::uri(json!({"data": {"source": {"uri": "s3://other/t.csv"}, "target": "label"}}))]
#[case::format(json!({"data": {"source": {"uri": "file:t.csv", "format": "CSV"}, "target": "label"}}))]
#[case::secret(json!({"data": {"source": {"uri": "file:t.csv", "credentialsSecretRef": {"name": "s"}}, "target": "label"}}))]
#[case::gate(json!({
    "data": {"source": {"uri": "file:t.csv"}, "target": "label"},
    "gate": {"require": [{"metric": "valLoss", "max": 1}]},
}))]
#[case::output(json!({
    "data": {"source": {"uri": "file:t.csv"}, "target": "label"},
    "output": {"uri": "file:revisions"},
}))]
#[case::threads(json!({
    "data": {"source": {"uri": "file:t.csv"}, "target": "label"},
    "builtin": {"threads": 8},
}))]
#[case::written_default(json!({
    "data": {"source": {"uri": "file:t.csv", "delimiter": ","}, "target": "label"},
    "builtin": {"epochs": 200, "optimizer": {"kind": "Adam", "learningRate": 0.001}},
}))]
fn what_does_not_change_the_result_does_not_change_the_json(#[case] other: Value) {
    let plain = training(json!({"data": {"source": {"uri": "file:t.csv"}, "target": "label"}}));
    assert_eq!(serde_json::to_string(&training(other)).unwrap(), serde_json::to_string(&plain).unwrap());
}

#[rstest]
#[case(json!({"optimizer": {"kind": "AdamW", "weightDecay": 0.1}, "schedule": {"kind": "Step"}}))]
#[case(json!({"classWeights": {"mode": "Values", "values": {"a": 2}}, "columns": [{"name": "a", "type": "Ignored"}]}))]
#[case(json!({"fullBatch": true, "earlyStopping": {"enabled": false}, "optimizer": {"kind": "RMSProp"}}))]
fn json_is_read_back_with_one_thread(#[case] json: Value) {
    let resolved = builtin(json);
    let text = serde_json::to_string(&resolved).unwrap();
    assert_eq!(serde_json::from_str::<ResolvedBuiltin>(&text).unwrap(), resolved);
    assert!(!text.contains("threads"));
}
