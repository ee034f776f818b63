//! Pods that come, go and are killed.
use modelwright_e2e::{
    disruption::{
        Row, Stage,
        course::{self, Size},
    },
    namespace::with_namespace,
};

use crate::{Request, outages::example};

/// What can be asked for by itself.
pub(crate) const NAMES: [&str; 2] = [CHANGES, KILLS];
/// Every change of pods that loses no request.
const CHANGES: &str = "changes";
/// Every end of a server without notice.
const KILLS: &str = "kills";
/// Pods where their number is not what changes.
const REPLICAS: usize = 4;

/// Prints a table of what is asked for; what should not have been.
pub(crate) async fn measure(request: &Request) -> anyhow::Result<Vec<String>> {
    let (changes, kills) = (request.asks_for(CHANGES), request.asks_for(KILLS));
    let mut failures = Vec::new();
    if !changes && !kills {
        return Ok(failures);
    }
    let size = Size { replicas: REPLICAS, times: request.times, rate: request.rate };
    with_namespace("bench-changes", async |namespace| {
        let onnx = std::fs::read(example("model.onnx"))?;
        let body = std::fs::read(example("request.json"))?;
        let stage = Stage::prepare(&namespace, onnx.clone(), body, size.replicas).await?;
        let mut rows = Vec::new();
        if changes {
            let (orderly, calls) = course::orderly(&stage, &onnx, size).await?;
            println!("calls of one client, by server: {calls:?}");
            failures.extend(orderly.iter().filter(|row| lost(row)).map(ToString::to_string));
            rows.extend(orderly);
            stage.scale(size.replicas).await?;
        }
        if kills {
            rows.extend(course::kills(&stage, size).await?);
        }
        println!("{} requests a second of each kind, {} times\n\n{}", size.rate, size.times, Row::HEAD);
        for row in rows {
            println!("{row}");
        }
        Ok(())
    })
    .await?;
    Ok(failures)
}

fn lost(row: &Row) -> bool {
    row.window.total() == 0 || !row.window.failures.is_empty()
}
