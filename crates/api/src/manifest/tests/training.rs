//! What `spec.training` and `spec.rollout` accept and refuse.

use super::*;

/// A manifest with a training that has these lines beneath it, besides its data.
fn training(lines: &str) -> String {
    manifest(&format!(
        "training:\n  data: {{source: {{uri: 's3://tables/t.csv'}}, target: label}}\n{}",
        indented(lines)
    ))
}

/// A manifest with a training of this data, a flow mapping without braces.
fn data(fields: &str) -> String {
    manifest(&format!("training: {{data: {{{fields}}}}}"))
}

/// The same with these fields of its source beside the uri.
fn source_with(fields: &str) -> String {
    data(&format!("source: {{uri: 's3://tables/t', {fields}}}, target: label"))
}

fn at(uri: &str) -> String {
    data(&format!("source: {{uri: '{uri}'}}, target: label"))
}

fn validation(fields: &str) -> String {
    data(&format!("source: {{uri: 's3://t/t'}}, target: label, validation: {{{fields}}}"))
}

fn builtin(fields: &str) -> String {
    training(&format!("builtin: {{{fields}}}"))
}

fn column(fields: &str) -> String {
    builtin(&format!("columns: [{{name: age, {fields}}}]"))
}

fn optimizer(fields: &str) -> String {
    builtin(&format!("optimizer: {{{fields}}}"))
}

fn require(fields: &str) -> String {
    training(&format!("gate: {{require: [{{{fields}}}]}}"))
}

fn rollout(revision: &str) -> String {
    training("").replace("  training:", &format!("  rollout: {{revision: '{revision}'}}\n  training:"))
}

#[rstest]
#[case::least(training(""))]
#[case::https(at("https://example.com/t.parquet"))]
#[case::file(at("file:t.csv"))]
#[case::csv(source_with("format: CSV, delimiter: ';'"))]
#[case::parquet(source_with("format: Parquet"))]
#[case::delimiter_of_any_format(source_with("delimiter: '|'"))]
#[case::blank(source_with("delimiter: ' '"))]
#[case::tilde(source_with("delimiter: '~'"))]
#[case::backslash(source_with(r"delimiter: '\'"))]
#[case::tab(source_with(r"delimiter: '\t'"))]
#[case::plain_tab(source_with(r"delimiter: \t"))]
#[case::tab_itself(source_with(r#"delimiter: "\t""#))]
#[case::secret(source_with("credentialsSecretRef: {name: s3}"))]
#[case::validation(validation(""))]
#[case::fraction(validation("fraction: 0.01, stratify: false"))]
#[case::most(validation("fraction: 0.9"))]
#[case::rows(validation("source: {uri: 's3://t/v', delimiter: ';'}"))]
#[case::test_rows(data("source: {uri: 's3://t/t'}, target: label, test: {source: {uri: 's3://t/u'}}"))]
#[case::empty_builtin(builtin(""))]
#[case::linear(builtin("layers: []"))]
#[case::layers(builtin("layers: [{units: 1}, {units: 65536, activation: Gelu, dropout: 0.95, l2: 100}]"))]
#[case::whole_numbers_are_numbers(builtin("layers: [{units: 1, dropout: 0, l2: 0}]"))]
#[case::numbers(column("type: Numeric, impute: Mean, scale: None"))]
#[case::frequent_number(column("type: Numeric, impute: MostFrequent"))]
#[case::texts(column("type: String, impute: Category, maxCategories: 10000"))]
#[case::frequent_text(column("type: String, impute: MostFrequent"))]
#[case::truth(column("type: Boolean, impute: MostFrequent"))]
#[case::ignored(column("type: Ignored"))]
#[case::numbers_of_no_type(column("impute: Median, scale: Standard"))]
#[case::texts_of_no_type(column("impute: Category, maxCategories: 2"))]
#[case::frequent_scaled(column("impute: MostFrequent, scale: Standard"))]
#[case::frequent_category(column("impute: MostFrequent, maxCategories: 2"))]
#[case::two_columns(builtin("columns: [{name: a}, {name: A}]"))]
#[case::no_kind(optimizer("learningRate: 1e-9, beta1: 0, beta2: 0.9999999, epsilon: 2e-16"))]
#[case::adam(optimizer("kind: Adam, beta1: 0.5, epsilon: 1"))]
#[case::adam_w(optimizer("kind: AdamW, beta2: 0.5, weightDecay: 0.1, epsilon: 1e-6"))]
#[case::rms_prop(optimizer("kind: RMSProp, rho: 0.9, momentum: 0.5, epsilon: 1.0"))]
#[case::sgd(optimizer("kind: SGD, learningRate: 1000"))]
#[case::nesterov(optimizer("kind: SGD, momentum: 0.9, nesterov: true"))]
#[case::no_nesterov(optimizer("kind: SGD, nesterov: false"))]
#[case::no_momentum(optimizer("kind: SGD, momentum: 0"))]
#[case::step(builtin("schedule: {kind: Step, everyEpochs: 1, factor: 1}"))]
#[case::constant(builtin("schedule: {}"))]
#[case::cosine(builtin("schedule: {kind: Cosine}"))]
#[case::full_batch(builtin("fullBatch: true"))]
#[case::no_full_batch(builtin("fullBatch: false, batchSize: 1048576"))]
#[case::monitor(builtin("earlyStopping: {monitor: valR2, patience: 1, minDelta: 0}"))]
#[case::never_early(builtin("earlyStopping: {enabled: false}"))]
#[case::same_weights(builtin("classWeights: {mode: None}"))]
#[case::balanced(builtin("classWeights: {mode: Balanced}"))]
#[case::weights(builtin("classWeights: {mode: Values, values: {'0': 1, '1': 2.5, a/b: 0.00001}}"))]
#[case::seed(builtin("seed: 9007199254740991"))]
#[case::threads(builtin("threads: 256"))]
#[case::output(training("output: {uri: 'gs://revisions/m', credentialsSecretRef: {name: s}}"))]
#[case::output_file(training("output: {uri: 'file:revisions'}"))]
#[case::gate(training("gate: {}"))]
#[case::beat(training("gate: {beat: Baseline, approval: Manual}"))]
#[case::at_least(require("metric: valAccuracy, min: 1"))]
#[case::at_most(require("metric: valRmse, max: 1.5"))]
#[case::between(require("metric: valR2, min: -1, max: 0.5"))]
#[case::one_value(require("metric: valR2, min: 1, max: 1.0"))]
#[case::test_metric(manifest(
    "training:\n  data: {source: {uri: 's3://t/t'}, target: label, test: {source: {uri: 's3://t/u'}}}\n  \
     gate: {require: [{metric: testF1, min: 0.5}]}"
))]
#[case::container(data("source: {uri: 's3://t/t'}").replace("}}\n", "}, container: {image: i}, output: {uri: 's3://r'}}\n"))]
#[case::when(training("cron: '*/5 0 1,15 * MON-FRI'\ntimeZone: Europe/Berlin"))]
#[case::how(training("deadline: 1m\nstallTimeout: 1m\nretries: 0\nkeep: 1\nqueue: a.b"))]
#[case::revision(rollout("0123456789abcdef"))]
#[case::digest(rollout(&format!("sha256:{}", "0a".repeat(32))))]
fn good_training_is_accepted_and_in_a_cluster_needs_an_output(#[case] text: String) {
    let models = parse(&text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}\n\n{text}"));
    assert!(models[0].spec.training.is_some());
    let refusal = parse_for(&text, "m.yaml", Scope::Cluster)
        .err()
        .map_or_else(String::new, |problems| problems.to_string());
    let only = refusal.lines().all(|line| {
        line.contains("spec.training: a training in a cluster publishes its revisions into a store")
            || line.contains("file: works only in modelwright run")
    });
    assert!(only, "{refusal}");
}

#[rstest]
#[case::both(
    manifest("source: {uri: s3://m/bc}\ntraining: {data: {source: {uri: s3://t/t}, target: label}}"),
    "m.yaml:5: spec: a Model comes from one place; write exactly one of source"
)]
#[case::no_data(
    manifest("training: {}"),
    "m.yaml:6: spec.training.data: is required; write it: What to learn from"
)]
#[case::no_rows(data("target: label"), "spec.training.data.source: is required")]
#[case::no_target(
    data("source: {uri: 's3://t/t'}"),
    "spec.training: the built-in trainer needs the column to predict; write data.target"
)]
#[case::no_such_key(
    training("epochs: 5"),
    "spec.training.epochs: unknown key; epochs belongs under spec.training.builtin"
)]
#[case::key_of_an_item(
    builtin("activation: Relu"),
    "activation belongs under spec.training.builtin.layers[]"
)]
#[case::key_of_a_source(
    training("digest: abc"),
    "spec.training.digest: unknown key; the keys here are builtin, container, cron, data"
)]
#[case::scheme(at("t.csv"), "data.source.uri: \"t.csv\": the uri must name a place")]
#[case::claim(
    at("pvc://claim/t.csv"),
    "spec.training.data.source.uri: \"pvc://claim/t.csv\": pvc: works only in a cluster"
)]
#[case::claim_of_validation(
    validation("source: {uri: 'pvc://c/v'}"),
    "validation.source.uri: \"pvc://c/v\": pvc: works"
)]
#[case::query(
    at("https://example.com/t.csv?token=1"),
    "spec.training.data.source.uri: a uri must not hold '?'"
)]
#[case::userinfo(
    at("https://a:b@example.com/t.csv"),
    "spec.training.data.source.uri: a uri must not hold credentials"
)]
#[case::format(source_with("format: csv"), "\"csv\" is not one of CSV, Parquet; write CSV")]
#[case::no_delimiter(source_with("delimiter: ''"), "delimiter: is empty")]
#[case::two(
    source_with("delimiter: ',,'"),
    "delimiter: \",,\": a delimiter is one ASCII character other than"
)]
#[case::long(source_with("delimiter: ';;;'"), "delimiter: has 3 characters where at most 2")]
#[case::quotation_mark(source_with("delimiter: '\"'"), "or \\t for a tab; write for example ';'")]
#[case::not_ascii(source_with("delimiter: '§'"), "a delimiter is one ASCII character")]
#[case::control(source_with(r#"delimiter: "\x7f""#), "a delimiter is one ASCII character")]
#[case::line_break(source_with(r#"delimiter: "\n""#), "a delimiter is one ASCII character")]
#[case::other_escape(source_with(r"delimiter: '\n'"), "a delimiter is one ASCII character")]
#[case::delimiter_of_parquet(
    source_with("format: Parquet, delimiter: ';'"),
    "spec.training.data.source: a delimiter belongs to CSV, and Parquet has none; remove it"
)]
#[case::fraction_and_rows(
    validation("fraction: 0.5, source: {uri: 's3://t/v'}"),
    "data.validation: validation rows are a part of the training rows or rows of their own; write fraction"
)]
#[case::stratified_rows(
    validation("stratify: true, source: {uri: 's3://t/v'}"),
    "validation rows are a part"
)]
#[case::no_fraction(
    validation("fraction: 0"),
    "validation.fraction: 0 is too small; write a number that is more than 0 and at most 0.9"
)]
#[case::all(
    validation("fraction: 1.0"),
    "validation.fraction: 1.0 is too large; write a number that is more than 0 and at most 0.9"
)]
#[case::fraction_text(validation("fraction: '0.2'"), "\"0.2\" is a text; write the number without quotes")]
#[case::fraction_percent(
    validation("fraction: 20%"),
    "\"20%\" is a text; write a number that is more than 0 and at most 0.9"
)]
#[case::fraction_bool(
    validation("fraction: true"),
    "true is a truth value; write a number that is more than 0 and at most 0.9"
)]
#[case::fraction_list(
    validation("fraction: [0.2]"),
    "is a list; write a number that is more than 0 and at most 0.9"
)]
#[case::fraction_null(validation("fraction: null"), "validation.fraction: has no value")]
#[case::stratify(validation("stratify: 1"), "validation.stratify: 1 is a number; write true or false")]
#[case::not_a_number(
    validation("fraction: .nan"),
    "not YAML: \".nan\" is not a finite number; write one such as 0.5"
)]
#[case::infinite(validation("fraction: .inf"), "\".inf\" is not a finite number")]
#[case::too_large_to_hold(validation("fraction: 1e999"), "\"1e999\" is not a finite number")]
#[case::infinite_text(validation("fraction: '1e999'"), "\"1e999\" is a text; write a number that is")]
#[case::column_twice(
    builtin("columns: [{name: age}, {name: age}]"),
    "spec.training.builtin.columns[1]: \"age\" is in the list already; remove one"
)]
#[case::column_of_no_name(
    builtin("columns: [{type: String}]"),
    "columns[0].name: is required; write it: The column's name"
)]
#[case::mean_of_texts(
    column("type: String, impute: Mean"),
    ":8: spec.training.builtin.columns[0]: a field does not fit the type of the column; Numeric has scale"
)]
#[case::median_of_texts(column("type: String, impute: Median"), "a field does not fit")]
#[case::scaled_texts(column("type: String, scale: None"), "a field does not fit")]
#[case::category_of_numbers(column("type: Numeric, impute: Category"), "a field does not fit")]
#[case::categories_of_numbers(column("type: Numeric, maxCategories: 5"), "a field does not fit")]
#[case::mean_of_truth(column("type: Boolean, impute: Mean"), "a field does not fit")]
#[case::category_of_truth(column("type: Boolean, impute: Category"), "a field does not fit")]
#[case::scaled_truth(column("type: Boolean, scale: Standard"), "a field does not fit")]
#[case::categories_of_truth(column("type: Boolean, maxCategories: 2"), "a field does not fit")]
#[case::two_types(column("scale: Standard, maxCategories: 5"), "write the fields of one type")]
#[case::two_types_of_impute(column("scale: Standard, impute: Category"), "write the fields of one type")]
#[case::mean_of_categories(column("impute: Mean, maxCategories: 5"), "write the fields of one type")]
#[case::ignored_impute(column("type: Ignored, impute: MostFrequent"), "an Ignored column is not used")]
#[case::ignored_scale(column("type: Ignored, scale: None"), "an Ignored column is not used")]
#[case::ignored_categories(column("type: Ignored, maxCategories: 5"), "remove them, or write another type")]
#[case::momentum_of_adam(
    optimizer("kind: Adam, momentum: 0.9"),
    "builtin.optimizer: a field does not belong to this kind of optimizer; SGD has momentum and nesterov"
)]
#[case::momentum_of_none(optimizer("momentum: 0.9"), "Adam, which is used where no kind is written")]
#[case::momentum_of_adam_w(optimizer("kind: AdamW, momentum: 0"), "a field does not belong")]
#[case::nesterov_of_adam(optimizer("kind: Adam, nesterov: false"), "a field does not belong")]
#[case::nesterov_of_none(optimizer("nesterov: true"), "a field does not belong")]
#[case::nesterov_of_rms_prop(
    optimizer("kind: RMSProp, momentum: 0.9, nesterov: true"),
    "a field does not belong"
)]
#[case::beta_of_sgd(optimizer("kind: SGD, beta1: 0.9"), "a field does not belong")]
#[case::beta_of_rms_prop(optimizer("kind: RMSProp, beta2: 0.9"), "a field does not belong")]
#[case::rho_of_adam(optimizer("kind: Adam, rho: 0.9"), "a field does not belong")]
#[case::rho_of_none(optimizer("rho: 0.9"), "a field does not belong")]
#[case::epsilon_of_sgd(optimizer("kind: SGD, epsilon: 1e-8"), "a field does not belong")]
#[case::decay_of_adam(optimizer("kind: Adam, weightDecay: 0.1"), "a field does not belong")]
#[case::decay_of_none(optimizer("weightDecay: 0.1"), "write the fields of one kind")]
#[case::nothing_to_look_ahead(
    optimizer("kind: SGD, nesterov: true"),
    "builtin.optimizer: nesterov looks ahead along the momentum, and there is none; write for example momentum: 0.9"
)]
#[case::no_momentum_to_look_ahead(
    optimizer("kind: SGD, nesterov: true, momentum: 0"),
    "nesterov looks ahead"
)]
#[case::zero_momentum_to_look_ahead(
    optimizer("kind: SGD, nesterov: true, momentum: 0.0"),
    "nesterov looks ahead"
)]
#[case::rate(
    optimizer("learningRate: 0"),
    "learningRate: 0 is too small; write a number that is more than 0 and at most 1000"
)]
#[case::negative_rate(optimizer("learningRate: -1e-3"), "learningRate: -0.001 is too small")]
#[case::epsilon(
    optimizer("epsilon: 0"),
    "epsilon: 0 is too small; write a number that is more than 1e-16 and at most 1"
)]
#[case::factor(builtin("schedule: {kind: Step, factor: 0}"), "factor: 0 is too small")]
#[case::beta(optimizer("beta1: 1"), "beta1: 1 is too large; write a number from 0 to 0.9999999")]
#[case::optimizer_name(
    optimizer("kind: adam"),
    "\"adam\" is not one of SGD, Adam, AdamW, RMSProp; write Adam"
)]
#[case::factor_of_constant(
    builtin("schedule: {factor: 0.5}"),
    "builtin.schedule: everyEpochs and factor belong to a Step schedule; write kind: Step"
)]
#[case::epochs_of_cosine(builtin("schedule: {kind: Cosine, everyEpochs: 5}"), "belong to a Step schedule")]
#[case::whole_batch_of_a_size(
    builtin("fullBatch: true, batchSize: 32"),
    "spec.training.builtin: fullBatch takes all rows in one step, so batchSize has no effect; write one of them"
)]
#[case::monitor(
    builtin("earlyStopping: {monitor: loss}"),
    "earlyStopping.monitor: \"loss\": early stopping watches the validation rows; write val and the name"
)]
#[case::monitor_of_test(builtin("earlyStopping: {monitor: testLoss}"), "such as valLoss or valRocAuc")]
#[case::weights_as_text(
    builtin("classWeights: Balanced"),
    "\"Balanced\" is a text where keys with values belong"
)]
#[case::weights_of_no_mode(builtin("classWeights: {values: {a: 1}}"), "classWeights.mode: is required")]
#[case::weights_of_another_mode(
    builtin("classWeights: {mode: Balanced, values: {a: 1}}"),
    "builtin.classWeights: values belong to mode Values and must be written there"
)]
#[case::no_weights(builtin("classWeights: {mode: Values}"), "write mode: Values and values: {CLASS: WEIGHT}")]
#[case::empty_weights(builtin("classWeights: {mode: Values, values: {}}"), "values belong to mode Values")]
#[case::weight_zero(
    builtin("classWeights: {mode: Values, values: {a: 1, b: 0}}"),
    "classWeights.values.b: 0 is too small; write a number that is more than 1e-6 and at most 1000000"
)]
#[case::weight_negative(
    builtin("classWeights: {mode: Values, values: {a b: -1.5}}"),
    "values[\"a b\"]: -1.5 is too small"
)]
#[case::weight_text(
    builtin("classWeights: {mode: Values, values: {a: high}}"),
    "values.a: \"high\" is a text; write a number"
)]
#[case::weight_infinite(
    builtin("classWeights: {mode: Values, values: {a: .inf}}"),
    "\".inf\" is not a finite number"
)]
#[case::units(
    builtin("layers: [{units: 0}]"),
    "layers[0].units: 0 is too small; write a whole number from 1 to 65536"
)]
#[case::no_units(
    builtin("layers: [{}]"),
    "layers[0].units: is required; write it: How many values the layer gives"
)]
#[case::dropout(
    builtin("layers: [{units: 1, dropout: 1}]"),
    "dropout: 1 is too large; write a number from 0 to 0.95"
)]
#[case::many_layers(builtin(&format!("layers: [{}]", ["{units: 1}"; 33].join(", "))), "has 33 items where at most 32")]
#[case::seed(
    builtin("seed: 9007199254740992"),
    "is too large; write a whole number from 0 to 9007199254740991"
)]
#[case::output_scheme(
    training("output: {uri: 'https://example.com/m'}"),
    "output.uri: \"https://example.com/m\": training.output.uri must be object storage; write s3://BUCKET/PATH"
)]
#[case::output_claim(training("output: {uri: 'pvc://c/m'}"), "training.output.uri must be object storage")]
#[case::output_query(
    training("output: {uri: 's3://m/m?x'}"),
    "spec.training.output.uri: a uri must not hold '?'"
)]
#[case::output_secret(
    training("output: {uri: 's3://m/m', credentialsSecretRef: {name: S}}"),
    "output.credentialsSecretRef.name: \"S\": a Secret's name"
)]
#[case::metric(
    require("metric: accuracy, min: 0.5"),
    "gate.require[0].metric: \"accuracy\": a metric is of the validation or of the test rows; write val or test"
)]
#[case::metric_case(require("metric: val_accuracy, min: 0.5"), "such as valAccuracy or testRmse")]
#[case::no_bound(require("metric: valR2"), "gate.require[0]: a requirement needs a bound; write min or max")]
#[case::nothing_between(
    require("metric: valR2, min: 0.9, max: 0.1"),
    "gate.require[0]: no value can be at least min and at most max, because min is larger"
)]
#[case::nothing_between_whole_numbers(
    require("metric: valMse, min: 2, max: 1.5"),
    "no value can be at least min"
)]
#[case::no_test_rows(
    require("metric: testR2, min: 0.9"),
    "spec.training: a test metric needs test rows; write data.test.source, or require a metric of the validation rows"
)]
#[case::beat(
    training("gate: {beat: Everything}"),
    "is not one of Baseline, Active; write Baseline or Active"
)]
#[case::approval(training("gate: {approval: manual}"), "is not one of Automatic, Manual; write Manual")]
#[case::revision(
    rollout("0123456789ABCDEF"),
    "spec.rollout.revision: \"0123456789ABCDEF\": a revision is named by its id (16 lower-case hexadecimal digits)"
)]
#[case::cron(training("cron: hourly"), "cron: \"hourly\": cron must have five fields")]
#[case::deadline(training("deadline: 1s"), "deadline must be from 1m")]
#[case::stall(training("stallTimeout: 200h"), "stallTimeout must be from 1m to 168h")]
#[case::zone(training("timeZone: UTC"), "timeZone has no effect without cron")]
#[case::minute(training("cron: 61 3 * * *"), "spec.training.cron: \"61 3 * * *\" cannot be used")]
#[case::no_such_day(training("cron: 0 3 31 2 *"), "there is no such day")]
#[case::no_such_zone(
    training("cron: 0 3 * * *\ntimeZone: Mars/Olympus"),
    "spec.training.timeZone: \"Mars/Olympus\" is no time zone"
)]
#[case::two_trainers(training("builtin: {}\ncontainer: {image: i}"), "write one of builtin and container")]
#[case::target_of_a_container(training("container: {image: i}"), "pass them in container.parameters")]
#[case::our_variable(
    training("container: {image: i, env: [{name: PET_NNODES, value: '2'}]}"),
    "which Modelwright sets itself"
)]
#[case::poll(data("source: {uri: 's3://t/t'}, target: a, pollInterval: 1m"), "pollInterval must be from 5m")]
#[case::short_revision(rollout("0123"), "\"0123\" is too short; write at least 16 characters")]
#[case::half_digest(rollout("sha256:0123456789abcdef"), "a revision is named by its id")]
#[case::digest_without_its_name(rollout(&"0a".repeat(32)), "write one that status.revisions")]
fn bad_training_is_refused_with_what_to_write(#[case] text: String, #[case] expected: &str) {
    let refusal = refusal(&text, Scope::Machine);
    assert!(refusal.contains(expected), "{refusal}\n\n{text}");
    assert!(refusal.lines().all(|line| line.starts_with("m.yaml:")), "{refusal}");
    super::refusal(&text, Scope::Cluster);
}

/// Each rule says one thing, so a manifest with one mistake gets one line.
#[rstest]
#[case(column("type: Ignored, scale: None, maxCategories: 3, impute: Category"))]
#[case(column("scale: None, maxCategories: 3"))]
#[case(optimizer("kind: Adam, nesterov: true"))]
#[case(optimizer("kind: SGD, nesterov: true"))]
#[case(require("metric: testR2, min: 1"))]
#[case(require("metric: valR2"))]
#[case(builtin("classWeights: {mode: Values}"))]
#[case(source_with("delimiter: ',,'"))]
#[case(manifest("{}"))]
#[case(manifest("training: null\nsource: {uri: s3://m/bc}"))]
fn one_mistake_is_reported_once(#[case] text: String) {
    let refusal = refusal(&text, Scope::Machine);
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
}

#[test]
fn everything_that_is_wrong_with_a_training_is_said_at_once() {
    let refusal = refusal(&optimizer("momentum: 1"), Scope::Cluster);
    assert!(refusal.contains("write output: {uri: s3://BUCKET/PATH}"), "{refusal}");
    assert!(refusal.contains("momentum: 1 is too large"), "{refusal}");
    assert!(refusal.contains("a field does not belong to this kind"), "{refusal}");
}

#[test]
fn source_is_pinned_by_its_digest_where_there_is_no_history() {
    let text = manifest("source: {uri: s3://m/bc}\nrollout: {revision: 0123456789abcdef}");
    let refusal = refusal(&text, Scope::Machine);
    assert!(refusal.contains("for a source write source.digest to choose the bytes"), "{refusal}");
    assert!(parse_for(&text, "m.yaml", Scope::Cluster).is_ok());
}

#[test]
fn example_is_sources_and_a_training_of_each_task() {
    let models = parse(EXAMPLE, "example.yaml").unwrap();
    let [source, scaled, on_a_gpu, trainings @ ..] = models.as_slice() else { panic!("no Models") };
    assert!(source.spec.source.is_some() && trainings.len() == 4);
    assert_eq!(scaled.autoscaling().unwrap().max_replicas, 8);
    assert_eq!(on_a_gpu.serving().unwrap().session.cuda.memory_limit, Some(4 << 30));
    let churn = trainings[0].spec.training.as_ref().unwrap();
    let weights = churn.builtin.as_ref().and_then(|builtin| builtin.class_weights.as_ref()).unwrap();
    assert_eq!(serde_json::to_value(weights).unwrap()["values"], json!({"true": 3.0, "false": 1.0}));
    let names: Vec<_> =
        trainings[0].spec.secret_references().into_iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(names, ["s3", "s3", "s3-writer"]);
}
