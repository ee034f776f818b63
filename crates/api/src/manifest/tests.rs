use rstest::rstest;
use serde_json::{Value, json};

use super::*;

mod access;
mod oracle;
mod round_trip;
mod training;

/// Every line of a text, moved to the right by two blanks.
fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// A small manifest with these lines under `spec`.
fn manifest(spec: &str) -> String {
    let head = "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata:\n  name: bc\nspec:\n";
    head.to_owned() + &indented(spec)
}

/// The same with a good source, and these lines under `spec.serving`.
fn serving(lines: &str) -> String {
    manifest(&format!("source: {{uri: s3://models/bc/}}\nserving:\n{}", indented(lines)))
}

fn source(line: &str) -> String {
    manifest(&format!("source: {line}"))
}

fn named(name: &str) -> String {
    manifest("source: {uri: s3://models/bc/}").replace("name: bc", &format!("name: {name}"))
}

/// The messages for one document, as a user reads them.
fn refusal(text: &str, scope: Scope) -> String {
    parse_for(text, "m.yaml", scope).expect_err(text).to_string()
}

#[rstest]
#[case::name(named("breast-cancer"))]
#[case::shortest_name(named("b"))]
#[case::longest_name(named(&"b".repeat(40)))]
#[case::s3(source("{uri: s3://models/bc/}"))]
#[case::gs(source("{uri: gs://models/bc/model.onnx}"))]
#[case::az(source("{uri: az://models/bc}"))]
#[case::https(source("{uri: https://example.com:8443/model.onnx}"))]
#[case::http(source("{uri: http://example.com/a@b.onnx}"))]
#[case::pvc(source("{uri: pvc://claim/path}"))]
#[case::digest(source(&format!("{{uri: s3://m/bc, digest: sha256:{}}}", "0a".repeat(32))))]
#[case::secret(source("{uri: s3://m/bc, credentialsSecretRef: {name: my.store-1}}"))]
#[case::copy(source("{uri: s3://m/bc, copyTo: {uri: gs://mine/models, credentialsSecretRef: {name: s}}}"))]
#[case::no_replicas(serving("replicas: 0"))]
#[case::most_replicas(serving("replicas: 1000"))]
#[case::cpu(serving("executionProvider: CPU"))]
#[case::cuda(serving("executionProvider: CUDA\nresources: {limits: {nvidia.com/gpu: 1}}"))]
#[case::cuda_text(serving("executionProvider: CUDA\nresources: {limits: {nvidia.com/gpu: '2'}}"))]
#[case::quantities(serving(
    "resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: 2, memory: 4294967296}}"
))]
#[case::threads(serving("session: {intraOpThreads: 256, interOpThreads: 1, graphOptimization: Extended}"))]
#[case::limits(serving("limits: {maxRequestBytes: 1024, maxQueuedRequests: 100000}"))]
#[case::batching(serving("batching: {maxBatchSize: 1, maxQueueDelay: 0ms}"))]
#[case::lane(serving("session: {lane: Inline, instances: 2, weights: Mapped, memoryArena: false}"))]
#[case::cuda_settings(serving(
    "executionProvider: CUDA\nresources: {limits: {nvidia.com/gpu: 1}}\nsession: {cuda: {memoryLimit: 4Gi, convolutionSearch: Default}}"
))]
#[case::time_limits(serving("limits: {requestTimeout: 1h, maxConnectionAge: 24h}"))]
#[case::timeout(serving("startupTimeout: 1h30m"))]
#[case::shortest_timeout(serving("startupTimeout: 1000ms"))]
#[case::longest_timeout(serving("startupTimeout: 24h"))]
#[case::empty_serving(serving("{}"))]
fn good_manifest_is_accepted_in_a_cluster(#[case] text: String) {
    let models = parse_for(&text, "m.yaml", Scope::Cluster).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(models.len(), 1);
}

#[rstest]
#[case::name_begins(named("1bc"), ":4: \"1bc\": metadata.name must be at most 40 characters")]
#[case::name_upper(named("Bc"), ":4: \"Bc\": metadata.name must be")]
#[case::name_dot(named("b.c"), ":4: \"b.c\": metadata.name must be")]
#[case::name_end(named("bc-"), ":4: \"bc-\": metadata.name must be")]
#[case::name_long(named(&"b".repeat(41)), "b\": metadata.name must be")]
#[case::namespace_absolute(
    named("bc\n  namespace: /home/u"),
    ":5: metadata.namespace: \"/home/u\" is no namespace"
)]
#[case::namespace_above(named("bc\n  namespace: ../.."), "is no namespace")]
#[case::namespace_path(named("bc\n  namespace: a/b"), "is no namespace")]
#[case::name_number(
    named("12"),
    ":4: metadata.name: 12 is a number where a text belongs; write it in quotes, \"12\""
)]
#[case::scheme(
    source("{uri: ftp://models/bc}"),
    ":6: spec.source.uri: \"ftp://models/bc\": the uri must name a place"
)]
#[case::no_scheme(source("{uri: models/bc}"), "write s3://BUCKET/PATH")]
#[case::no_bucket(source("{uri: 's3:///bc'}"), "spec.source.uri: \"s3:///bc\": the uri must name a place")]
#[case::file(source("{uri: 'file:model.onnx'}"), "file: works only in modelwright run")]
#[case::userinfo_is_not_shown(
    source("{uri: 'ftp://user:secret@example.com'}"),
    "spec.source.uri: the uri must name"
)]
#[case::userinfo(
    source("{uri: 'https://user:secret@example.com/m.onnx'}"),
    "name a Secret in credentialsSecretRef"
)]
#[case::query(source("{uri: 'https://example.com/m.onnx?signature=1'}"), "must not hold '?' or '#'")]
#[case::fragment(source("{uri: 's3://m/bc#1'}"), "must not hold '?' or '#'")]
#[case::uri_empty(source("{uri: ''}"), "spec.source.uri: is empty; write a value or remove the key")]
#[case::uri_long(source(&format!("{{uri: s3://{}}}", "m".repeat(2_048))), "2053 characters where at most 2048 are allowed")]
#[case::digest_short(
    source("{uri: s3://m/bc, digest: sha256:abc}"),
    "spec.source.digest: \"sha256:abc\": a digest is sha256:"
)]
#[case::digest_upper(source(&format!("{{uri: s3://m/bc, digest: sha256:{}}}", "AA".repeat(32))), "64 lower-case")]
#[case::secret(
    source("{uri: s3://m/bc, credentialsSecretRef: {name: My_Secret}}"),
    "credentialsSecretRef.name: \"My_Secret\": a Secret's name"
)]
#[case::secret_missing(
    source("{uri: s3://m/bc, credentialsSecretRef: {}}"),
    "credentialsSecretRef.name: is required; write it: The Secret's name"
)]
#[case::copy_scheme(
    source("{uri: s3://m/bc, copyTo: {uri: https://m/bc}}"),
    "copyTo.uri must be object storage"
)]
#[case::copy_userinfo(
    source("{uri: s3://m/bc, copyTo: {uri: 's3://u:p@m/bc'}}"),
    "spec.source.copyTo.uri: a uri must not hold credentials"
)]
#[case::copy_query(
    source("{uri: s3://m/bc, copyTo: {uri: 's3://m/bc?x'}}"),
    "spec.source.copyTo.uri: a uri must not hold '?'"
)]
#[case::replicas_low(
    serving("replicas: -1"),
    ":8: spec.serving.replicas: -1 is too small; write a whole number from 0 to 1000"
)]
#[case::replicas_high(serving("replicas: 1001"), "1001 is too large; write a whole number from 0 to 1000")]
#[case::replicas_huge(serving("replicas: 18446744073709551615"), "is too large")]
#[case::replicas_text(serving("replicas: '2'"), "\"2\" is a text; write the number without quotes")]
#[case::replicas_fraction(serving("replicas: 1.5"), "1.5 is a number with a fraction; write a whole number")]
#[case::replicas_null(
    serving("replicas:"),
    "spec.serving.replicas: has no value; write one or remove the key"
)]
#[case::provider(serving("executionProvider: cuda"), "\"cuda\" is not one of CPU, CUDA; write CUDA")]
#[case::provider_other(
    serving("executionProvider: TensorRT"),
    "\"TensorRT\" is not one of CPU, CUDA; write CPU or CUDA"
)]
#[case::provider_bool(serving("executionProvider: yes"), "true is a truth value where a text belongs")]
#[case::cuda(
    serving("executionProvider: CUDA"),
    "spec.serving: executionProvider: CUDA needs a GPU; write resources:"
)]
#[case::cuda_zero(
    serving("executionProvider: CUDA\nresources: {limits: {nvidia.com/gpu: 0}}"),
    "CUDA needs a GPU"
)]
#[case::cuda_zero_text(
    serving("executionProvider: CUDA\nresources: {limits: {nvidia.com/gpu: '0'}}"),
    "CUDA needs a GPU"
)]
#[case::quantity(
    serving("resources: {limits: {cpu: two}}"),
    "spec.serving.resources.limits.cpu: \"two\" is not a quantity"
)]
#[case::quantity_negative(serving("resources: {limits: {cpu: -1}}"), "\"-1\" is negative")]
#[case::quantity_fraction(serving("resources: {limits: {cpu: 1.5}}"), "write it in quotes, \"1.5\"")]
#[case::quantity_list(
    serving("resources: {limits: {nvidia.com/gpu: [1]}}"),
    "limits[\"nvidia.com/gpu\"]: is a list where a quantity"
)]
#[case::many_limits(serving(&format!("resources: {{limits: {{{}}}}}", (0..17).map(|n| format!("r{n}: 1")).collect::<Vec<_>>().join(", "))), "has 17 keys where at most 16 are allowed")]
#[case::intra(
    serving("session: {intraOpThreads: 0}"),
    "intraOpThreads: 0 is too small; write a whole number from 1 to 256"
)]
#[case::inter(
    serving("session: {interOpThreads: 65}"),
    "interOpThreads: 65 is too large; write a whole number from 1 to 64"
)]
#[case::optimization(
    serving("session: {graphOptimization: all}"),
    "\"all\" is not one of Disabled, Basic, Extended, All; write All"
)]
#[case::request(serving("limits: {maxRequestBytes: 1}"), "from 1024 to 1073741824")]
#[case::queue(serving("limits: {maxQueuedRequests: 0}"), "from 1 to 100000")]
#[case::timeout_number(serving("startupTimeout: 600"), "600 is a number where a text belongs")]
#[case::timeout_unit(
    serving("startupTimeout: 10min"),
    "startupTimeout: \"10min\": a duration is whole numbers with units"
)]
#[case::timeout_zero(serving("startupTimeout: 0s"), "startupTimeout must be from 1s to 24h")]
#[case::timeout_long(serving("startupTimeout: 25h"), "startupTimeout must be from 1s to 24h")]
#[case::timeout_sign(serving("startupTimeout: -10m"), "a duration is whole numbers")]
#[case::key(serving("replica: 1"), ":8: spec.serving.replica: unknown key; write replicas")]
#[case::key_below(
    serving("session: {threads: 1}"),
    "the keys here are cuda, graphOptimization, instances, interOpThreads"
)]
#[case::key_elsewhere(
    manifest("source: {uri: s3://m/bc}\nreplicas: 2"),
    ":7: spec.replicas: unknown key; replicas belongs under spec.serving"
)]
#[case::key_of_root(named("bc") + "extra: 1\n", "extra: unknown key; the keys here are apiVersion, kind, metadata, spec, status")]
#[case::key_of_metadata(named("bc\n  label: {a: b}"), ":5: metadata.label: unknown key; write labels")]
#[case::key_of_a_training(
    serving("epochs: 5"),
    ":8: spec.serving.epochs: unknown key; the keys here are access, autoscaling, batching, executionProvider"
)]
#[case::no_source(
    manifest("serving: {}"),
    ":5: spec: a Model comes from one place; write exactly one of source"
)]
#[case::no_uri(source("{}"), "spec.source.uri: is required")]
#[case::source_text(source("s3://models/bc"), "\"s3://models/bc\" is a text where keys with values belong")]
#[case::label(
    named("bc\n  labels: {a: true}"),
    "metadata.labels.a: true is a truth value where a text belongs; write it in quotes"
)]
#[case::conditions(named("bc") + "status: {conditions: {}}\n", "status.conditions: is a group of keys where a list belongs")]
#[case::condition_twice(
    named("bc") + &format!("status: {{conditions: [{0}, {0}]}}\n", "{type: Ready, status: 'True', reason: R, message: m, lastTransitionTime: t}"),
    "status.conditions[1]: \"Ready\" is in the list already; remove one"
)]
fn bad_manifest_is_refused_with_what_to_write(#[case] text: String, #[case] expected: &str) {
    let refusal = refusal(&text, Scope::Cluster);
    assert!(refusal.contains(expected), "{refusal}\n\n{text}");
    assert!(refusal.lines().all(|line| line.starts_with("m.yaml:")), "{refusal}");
}

#[rstest]
#[case::file(source("{uri: 'file:model.onnx'}"))]
#[case::absolute_file(source("{uri: 'file:///models/model.onnx'}"))]
#[case::cuda_of_this_machine(serving("executionProvider: CUDA"))]
fn one_machine_accepts_what_only_a_cluster_refuses(#[case] text: String) {
    assert!(parse(&text, "m.yaml").is_ok());
    refusal(&text, Scope::Cluster);
}

#[test]
fn one_machine_refuses_volume_claims() {
    let text = source("{uri: pvc://claim/path}");
    assert!(refusal(&text, Scope::Machine).contains("pvc: works only in a cluster"));
}

#[rstest]
#[case::empty("", "document 1: holds no document; write a Model of apiVersion modelwright.dev/v1alpha1")]
#[case::comments("# nothing\n---\n---\n", "holds no document")]
#[case::not_yaml("a: [1\nb: 2\n", "not YAML: ")]
#[case::tab("a:\n\tb: 1\n", "m.yaml:2: not YAML: ")]
#[case::list("- a\n", "m.yaml:1: the document is not a mapping; write a Model, beginning with apiVersion:")]
#[case::text("hello\n", "the document is not a mapping")]
#[case::no_version(
    "kind: Model\n",
    "m.yaml:1: apiVersion: is required; write apiVersion: modelwright.dev/v1alpha1"
)]
#[case::version(
    "apiVersion: v1\nkind: Model\n",
    "m.yaml:1: apiVersion: \"v1\" is not modelwright.dev/v1alpha1"
)]
#[case::kind(
    "apiVersion: modelwright.dev/v1alpha1\nkind: model\n",
    "m.yaml:2: kind: \"model\" is not Model; only Models are read here, write kind: Model"
)]
#[case::kind_map("apiVersion: modelwright.dev/v1alpha1\nkind: {}\n", "kind: this is not Model")]
#[case::duplicate_key(
    "apiVersion: a\napiVersion: b\n",
    "m.yaml:2: not YAML: the key \"apiVersion\" stands here a second time; remove one"
)]
#[case::no_spec(
    "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {name: a}\n",
    "spec: is required"
)]
#[case::no_metadata(
    "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nspec: {source: {uri: s3://a/b}}\n",
    "metadata: is required"
)]
#[case::no_name(
    "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {}\nspec: {source: {uri: s3://a/b}}\n",
    "metadata.name: is required; write it: The Model's name"
)]
#[case::null_spec(
    "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {name: a}\nspec:\n",
    "m.yaml:4: spec: has no value"
)]
fn text_that_is_no_model_is_refused(#[case] text: &str, #[case] expected: &str) {
    let refusal = refusal(text, Scope::Machine);
    assert!(refusal.contains(expected), "{refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
}

#[test]
fn every_problem_of_every_document_is_reported_in_the_texts_order() {
    let text = format!(
        "{}---\n{}---\n{}",
        serving("replicas: 2000\nexecutionProvider: GPU\ncolour: red"),
        named("ok"),
        source("{uri: 'ftp://x?y', digest: abc}")
    );
    let problems = parse(&text, "m.yaml").unwrap_err();
    let fields: Vec<_> =
        problems.as_slice().iter().map(|problem| (problem.document, problem.path.as_str())).collect();
    assert_eq!(
        fields,
        [
            (1, "spec.serving.replicas"),
            (1, "spec.serving.executionProvider"),
            (1, "spec.serving.colour"),
            (3, "spec.source.digest"),
            (3, "spec.source.uri"),
            (3, "spec.source.uri"),
        ]
    );
    assert_eq!(problems.origin(), "m.yaml");
}

#[test]
fn several_documents_are_several_models() {
    let text = format!("# comment\n---\n{}---\n---\n{}", named("one"), named("two"));
    let names: Vec<_> =
        parse(&text, "m.yaml").unwrap().into_iter().map(|model| model.metadata.name.unwrap()).collect();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn one_name_twice_is_refused_unless_namespaces_differ() {
    let text = format!("{}---\n{}", named("one"), named("one"));
    assert!(
        refusal(&text, Scope::Machine)
            .contains(":11: metadata.name: \"one\" is already the name of document 1")
    );
    let text = format!("{}---\n{}", named("one"), named("one\n  namespace: other"));
    assert_eq!(parse(&text, "m.yaml").unwrap().len(), 2);
}

#[test]
fn long_and_strange_texts_are_shortened_and_escaped() {
    let text = serving(&format!("executionProvider: \"{}\\u001b[2J\"\n\"a\\nb\": 1", "x".repeat(10_000)));
    let refusal = refusal(&text, Scope::Cluster);
    assert!(
        refusal.len() < 600 && !refusal.contains('\u{1b}') && refusal.contains("[\"a\\nb\"]"),
        "{refusal}"
    );
}

#[test]
fn thousands_of_problems_are_counted_not_printed() {
    let lines: Vec<_> = (0..2_000).map(|number| format!("unknown{number}: 1")).collect();
    let refusal = refusal(&serving(&lines.join("\n")), Scope::Cluster);
    assert_eq!(refusal.lines().count(), 51);
    assert!(refusal.ends_with("and 1950 more problems"), "{refusal}");
}

#[test]
fn object_of_a_cluster_is_read_with_what_the_cluster_added() {
    let text = "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata:\n  name: bc\n  uid: 0f-1\n  generation: 3\n  \
                creationTimestamp: null\n  managedFields: [{manager: kubectl, operation: Apply}]\n  annotations: {a/b: c}\n\
                spec: {source: {uri: 's3://m/bc'}}\nstatus: {}\n";
    assert_eq!(parse(text, "m.yaml").unwrap()[0].metadata.generation, Some(3));
}

/// The place of every field that a schema names, as a JSON pointer into the first item of each list.
fn collect(schema: &Value, path: &str, into: &mut Vec<String>) {
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        into.push(format!("{path}/{key}"));
        collect(below, &format!("{path}/{key}"), into);
    }
    if schema["items"]["properties"].is_object() {
        collect(&schema["items"], &format!("{path}/0"), into);
    }
}
