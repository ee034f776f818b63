//! Autoscalers that ask the operator. Scripted pods answer nobody, so what is tested with them is everything but the values.
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use kube::api::DeleteParams;
use modelwright_api::Model;
use modelwright_e2e::{
    autoscaler::{Autoscaler, trigger},
    crd,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    wait::{self, Seen},
};
use serde_json::json;

use super::story::{self, TIMEOUT, model, resolves_to, serves};

/// Waits until the operator at this address answers so about a Model: whether it is active, or the code and the words of a refusal.
async fn answers(
    scaler: SocketAddr,
    namespace: &TestNamespace,
    name: &str,
    expected: Result<bool, (&str, &str)>,
) -> anyhow::Result<()> {
    let trigger = trigger(&namespace.name, name, "inFlight", "8");
    wait::wait_for(format!("the answer {expected:?} about {name}"), TIMEOUT, || async {
        let answer = Autoscaler::connect(scaler).await?.is_active(&trigger).await;
        let right = match (&answer, expected) {
            (Ok(active), Ok(expected)) => *active == expected,
            (Err(status), Err((code, words))) => {
                format!("{:?}", status.code()) == code && status.message().contains(words)
            }
            _ => false,
        };
        Ok(Seen::or_else_saw(right.then_some(()), format!("{answer:?}")))
    })
    .await
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn autoscalers_are_answered_by_every_process_about_models_that_are_theirs_to_scale()
-> anyhow::Result<()> {
    with_scripted_node("scaler", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let scalers = [free_port()?, free_port()?];
        let start = |scaler: SocketAddr| {
            Operator::of(&namespace).environment("MODELWRIGHT_SCALER_LISTEN", &scaler.to_string()).start()
        };
        // One of them leads.
        let _operators = [start(scalers[0])?, start(scalers[1])?];
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "  serving: {autoscaling: {mode: External}}\n")).await?;
        namespace.apply(&model("fixed", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        for scaler in scalers {
            answers(scaler, &namespace, "bc", Ok(true)).await?;
            answers(scaler, &namespace, "fixed", Err(("FailedPrecondition", "mode: External"))).await?;
            answers(scaler, &namespace, "none", Err(("NotFound", "there is no Model"))).await?;
            let mut autoscaler = Autoscaler::connect(scaler).await?;
            let metric = autoscaler.metric(&trigger(&namespace.name, "bc", "queueTime", "20ms")).await?;
            assert_eq!(
                (metric.metric_name.as_str(), Some(metric.target_size_float)),
                ("modelwright-queue-time", Some(20.0))
            );
            // Nobody answers at the address of a scripted pod, and an autoscaler must not take that for no load.
            let silent =
                autoscaler.value(&trigger(&namespace.name, "bc", "inFlight", "8")).await.unwrap_err();
            assert!(silent.message().contains("is not known"), "{silent:?}");
            // Namespaces that are not watched have no Models.
            let elsewhere =
                autoscaler.is_active(&trigger("default", "bc", "inFlight", "8")).await.unwrap_err();
            assert_eq!(format!("{:?}", elsewhere.code()), "NotFound");
        }
        story::change(&namespace, "bc", json!({"suspend": true})).await?;
        for scaler in scalers {
            answers(scaler, &namespace, "bc", Ok(false)).await?;
        }
        namespace.api::<Model>().delete("bc", &DeleteParams::default()).await?;
        for scaler in scalers {
            answers(scaler, &namespace, "bc", Err(("NotFound", "there is no Model"))).await?;
        }
        Ok(())
    })
    .await
}
