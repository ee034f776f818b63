//! Requests while pods come, go and are killed: none is lost that a server could have answered.
use modelwright_e2e::{
    disruption::{
        Row, Stage,
        course::{self, Size},
    },
    namespace::with_namespace,
};

use crate::serving::{example, restrict};

/// As short as it can be. `BENCH_REPLICAS=4 BENCH_TIMES=10 BENCH_RATE=200` do more of it.
const SHORT: Size = Size { replicas: 2, times: 1, rate: 100 };

fn sent(row: &Row) -> bool {
    row.window.sent.iter().sum::<u64>() > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_pods_change_and_one_client_spreads_over_all() -> anyhow::Result<()> {
    with_namespace("changes", async |namespace| {
        restrict(&namespace).await?;
        let size = SHORT.or_environment()?;
        let onnx = example("model.onnx");
        let stage = Stage::prepare(&namespace, onnx.clone(), example("request.json"), size.replicas).await?;
        let (rows, calls) = course::orderly(&stage, &onnx, size).await?;
        eprintln!("| calls of one client by server | {calls:?} |");
        // All of them first, for the table of the documentation.
        for row in &rows {
            eprintln!("{row}");
        }
        for row in &rows {
            assert!(sent(row) && row.window.failures.is_empty(), "{row}\n{:?}", row.window.failures);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_takes_only_its_own_requests_with_it() -> anyhow::Result<()> {
    with_namespace("kills", async |namespace| {
        restrict(&namespace).await?;
        let size = SHORT.or_environment()?;
        let stage =
            Stage::prepare(&namespace, example("model.onnx"), example("request.json"), size.replicas).await?;
        for row in course::kills(&stage, size).await? {
            eprintln!("{row}");
            assert!(sent(&row), "{row}");
            for failure in &row.window.failures {
                // Those that it had, and those that came until the node had noticed.
                assert!(["reset", "refused"].contains(&&*failure.kind), "{row}\n{failure:?}");
            }
            assert!(row.last_failure < row.settled, "{row}: requests failed after the server was back");
        }
        Ok(())
    })
    .await
}
