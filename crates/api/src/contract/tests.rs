//! The document and the constants say the same.

use std::{fs, path::Path};

use super::*;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract.md");
    fs::read_to_string(&path).unwrap()
}

/// The cells of each row of the table with this heading, without backticks.
fn table(first_heading: &str) -> Vec<Vec<String>> {
    let document = document();
    let rows: Vec<_> = document
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {first_heading} |")))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
        .collect();
    assert!(!rows.is_empty(), "no table with heading {first_heading}");
    rows
}

fn column(first_heading: &str) -> Vec<String> {
    table(first_heading).into_iter().map(|mut row| row.remove(0)).collect()
}

#[test]
fn api_version_belongs_to_the_group() {
    assert_eq!(super::API_VERSION.split_once('/').unwrap().0, super::GROUP);
}

#[test]
fn ports_are_the_documents() {
    let rows: Vec<_> = table("Port").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(rows[0], (ports::DATA.to_string(), ports::DATA_NAME.to_owned()));
    assert_eq!(rows[1], (ports::ADMIN.to_string(), ports::ADMIN_NAME.to_owned()));
    assert_eq!(rows[2], (ports::PROGRESS.to_string(), ports::PROGRESS_NAME.to_owned()));
    assert_eq!(rows[3], (ports::SCALER.to_string(), ports::SCALER_NAME.to_owned()));
    let probes: Vec<_> =
        [probes::LIVE, probes::READY, probes::METRICS, probes::COLD_START, probes::LOAD].into();
    assert_eq!(table("Port")[1][3].split(' ').collect::<Vec<_>>(), probes);
    let services: Vec<_> =
        table("Service port").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(
        services,
        [
            (ports::SERVICE_HTTP.to_string(), ports::SERVICE_HTTP_NAME.to_owned()),
            (ports::SERVICE_HTTPS.to_string(), ports::SERVICE_HTTPS_NAME.to_owned()),
            (ports::SERVICE_GRPC.to_string(), ports::SERVICE_GRPC_NAME.to_owned()),
        ]
    );
    for protocol in [ports::SERVICE_GRPC_PROTOCOL, ports::SERVICE_TLS_PROTOCOL] {
        assert!(document().contains(&format!("`appProtocol: {protocol}`")), "{protocol}");
    }
}

#[test]
fn labels_annotations_and_field_managers_are_the_documents() {
    assert_eq!(
        column("Label"),
        [
            labels::MODEL,
            labels::ROLE,
            labels::TRACK,
            labels::REVISION,
            labels::APP_NAME,
            labels::APP_INSTANCE,
            labels::APP_MANAGED_BY,
            labels::APP_VERSION
        ]
    );
    let rows = table("Label");
    let roles = [
        labels::ROLE_SERVER,
        labels::ROLE_RESOLVE,
        labels::ROLE_TRAIN,
        labels::ROLE_DATA,
        labels::ROLE_DELETE,
    ];
    assert_eq!(rows[1][2], roles.join(", "));
    assert!(rows[2][2].starts_with(&format!("{};", labels::TRACK_STABLE)));
    assert_eq!((rows[4][2].as_str(), rows[6][2].as_str()), (APPLICATION, APPLICATION));
    assert_eq!(
        column("Annotation"),
        [
            annotations::REVISION,
            annotations::DIGEST,
            annotations::URI,
            annotations::RENDERED_FROM,
            annotations::RENDERER,
            annotations::RESOLVED_FROM,
            annotations::ACTIVE,
            annotations::REJECTED,
            annotations::REJECTED_FOR,
            annotations::FORMER,
            annotations::REFUSED,
            annotations::APPLIED,
            annotations::JOB_HASH,
            annotations::RESOLVE_AT,
            annotations::RETRAIN_AT,
            annotations::RUN,
            annotations::ATTEMPT,
            annotations::FAILURES,
            annotations::GIVEN_UP,
            annotations::TRIGGER,
            annotations::ORDER,
            annotations::PARAMETERS,
        ]
    );
    assert_eq!(
        column("Field manager"),
        [
            field_managers::TEMPLATE,
            field_managers::REPLICAS,
            field_managers::CHILDREN,
            field_managers::STATUS
        ]
    );
}

#[test]
fn paths_environment_and_credentials_are_the_documents() {
    assert_eq!(
        column("Path")[..],
        [
            paths::MODELS,
            paths::SOURCE,
            paths::API_KEYS,
            paths::TLS,
            paths::TEMPORARY,
            paths::TERMINATION_LOG,
            paths::VALIDATION,
            paths::TEST,
            paths::ORDER,
            paths::WORK,
            paths::ML_DATA,
            paths::ML_CONFIG,
            paths::ML_OUT,
            paths::ML_CHECKPOINTS,
            paths::ML_PROGRESS,
            paths::ML_RECORDS,
        ]
    );
    assert_eq!(
        column("Variable"),
        [
            environment::MODEL,
            environment::NAMESPACE,
            environment::REVISION,
            environment::CPUS,
            environment::LOG,
            environment::ACCESS_LOG,
            environment::CHECKPOINT_INTERVAL,
            environment::STORE_RETRY,
            environment::ONNX_RUNTIME,
            environment::NO_TELEMETRY,
            environment::NODE_RANK,
            environment::IMAGE_CPU,
            environment::IMAGE_CUDA,
        ]
    );
    let document = document().split_whitespace().collect::<Vec<_>>().join(" ");
    let names = CREDENTIALS.map(|name| format!("`{name}`")).join(", ");
    assert!(document.contains(&format!("{names}.")), "{names}");
    let containers = containers::ALL.map(|name| format!("`{name}`"));
    assert!(document.contains(&format!("Containers: {}.", containers.join(", "))));
    assert!(document.contains(&format!("user and group {UID},")));
    for prefix in [
        environment::COPY_TO_PREFIX,
        environment::VALIDATION_PREFIX,
        environment::TEST_PREFIX,
        environment::OUTPUT_PREFIX,
    ] {
        assert!(document.contains(&format!("`{prefix}`")), "{prefix}");
    }
    for volume in [paths::MODELS_VOLUME, paths::API_KEYS_VOLUME, paths::TLS_VOLUME] {
        assert!(document.contains(&format!("volume `{volume}`")), "{volume}");
    }
    assert!(document.contains(&format!("At most {MAX_REDIRECTS} redirects")));
    assert!(document.contains("at most 1,024 bytes") && OUTCOME_MAX_BYTES == 1_024);
    assert!(document.contains(&format!("at most {OUTCOME_MAX_INPUTS};")));
}

#[test]
fn exit_codes_are_the_documents() {
    let rows = table("Code");
    assert_eq!(rows.len(), ExitCode::ALL.len());
    for (row, code) in rows.iter().zip(ExitCode::ALL) {
        let class = code.class().map(|class| format!("{class:?}")).unwrap_or_default();
        assert_eq!(row[..2], [code.number().to_string(), code.meaning().to_owned()]);
        assert_eq!(row.get(2).map_or("", |cell| cell.trim_matches('|').trim()), class, "{code:?}");
    }
    let over_http: Vec<_> =
        ExitCode::ALL.into_iter().filter_map(|code| Some((code.number(), code.http_status()?))).collect();
    assert_eq!(over_http, [(64, 400), (65, 400), (66, 404), (69, 503), (70, 500), (75, 503)]);
    assert!(document().contains("64 and 65 → 400, 66 → 404, 69 and 75 → 503, 70 → 500"));
}
