//! All events, one after the other.
use super::{
    Row, Stage,
    generator::{Generator, Shape},
};
use crate::settings::number;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Pods where their number is not what changes; at least 2.
    pub replicas: usize,
    /// How often everything happens.
    pub times: usize,
    /// Requests a second over HTTP/1.1, and as many calls of gRPC.
    pub rate: u32,
}

/// What happens while every request shall be answered.
#[derive(Clone, Copy, Debug)]
enum Orderly {
    Revision,
    Template,
    Restart,
    Evictions,
}

impl Size {
    /// This, or what `BENCH_REPLICAS`, `BENCH_TIMES` and `BENCH_RATE` say instead.
    pub fn or_environment(self) -> anyhow::Result<Self> {
        Ok(Self {
            replicas: number("BENCH_REPLICAS", self.replicas)?,
            times: number("BENCH_TIMES", self.times)?,
            rate: number("BENCH_RATE", self.rate)?,
        })
    }

    /// Several connections of each kind.
    const fn shape(self) -> Shape {
        Shape { rate: self.rate, http: 8, grpc: 4 }
    }
}

/// Everything after which no request may have failed, and at last how many calls of one client each of 4 servers got.
/// `onnx` is the model that is served.
pub async fn orderly(stage: &Stage, onnx: &[u8], size: Size) -> anyhow::Result<(Vec<Row>, Vec<u64>)> {
    let load = stage.load("load", size.shape()).await?;
    let mut rows = Vec::new();
    for event in [Orderly::Revision, Orderly::Template, Orderly::Restart, Orderly::Evictions] {
        let mut row = None;
        for time in 0..size.times {
            row = Some(once_more(row, Box::pin(happen(stage, &load, event, onnx, time)).await?));
        }
        rows.extend(row);
    }
    let (row, ()) = stage.during("scaled down to 1", &load, stage.scale(1)).await?;
    let (mut up, mut down) = (None, Some(row));
    for _ in 0..size.times {
        let (row, ()) = stage.during("scaled up to 4", &load, stage.scale(4)).await?;
        up = Some(once_more(up, row));
        let (row, ()) = stage.during("scaled down to 1", &load, stage.scale(1)).await?;
        down = Some(once_more(down, row));
    }
    rows.extend(up);
    rows.extend(down);
    load.stop().await?;

    // Connections live for seconds now, and one client has one.
    let one = stage.load("one", Shape { rate: size.rate, http: 0, grpc: 1 }).await?;
    let (row, calls) = stage
        .during("one client of gRPC while 1 pod becomes 4", &one, async {
            stage.scale(4).await?;
            stage.spread(4).await
        })
        .await?;
    rows.push(row);
    one.stop().await?;
    Ok((rows, calls))
}

async fn happen(
    stage: &Stage,
    load: &Generator,
    event: Orderly,
    onnx: &[u8],
    time: usize,
) -> anyhow::Result<Row> {
    let row = match event {
        Orderly::Revision => {
            let revision = described(onnx, &time.to_string());
            stage.during("another revision", load, Box::pin(stage.new_revision(revision))).await?
        }
        Orderly::Template => {
            let age = if time.is_multiple_of(2) { "2s" } else { "3s" };
            stage.during("another template", load, Box::pin(stage.new_template(age))).await?
        }
        Orderly::Restart => {
            stage.during("kubectl rollout restart", load, Box::pin(stage.rollout_restart())).await?
        }
        Orderly::Evictions => stage.during("all pods evicted", load, Box::pin(stage.evict_all())).await?,
    };
    Ok(row.0)
}

/// What ends a server without notice: in each row the requests that it had and those that were refused until the node
/// noticed. The rows are fewer where pods run on another machine, whose processes cannot be killed from here.
pub async fn kills(stage: &Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let load = stage.load("load", size.shape()).await?;
    let (mut killed, mut exhausted) = (None, None);
    for time in 0..size.times {
        if time > 0 {
            // Pods that were killed often are started again late.
            Box::pin(stage.rollout_restart()).await?;
        }
        let (row, done) = stage.during("kill -9 of one", &load, Box::pin(stage.kill_one())).await?;
        if done {
            killed = Some(once_more(killed, row));
        } else {
            eprintln!("SKIPPED: kill -9: the pods run on another machine");
        }
        let (row, ()) = stage.during("one out of memory", &load, Box::pin(stage.exhaust_one())).await?;
        exhausted = Some(once_more(exhausted, row));
    }
    load.stop().await?;
    Ok(killed.into_iter().chain(exhausted).collect())
}

fn once_more(row: Option<Row>, again: Row) -> Row {
    match row {
        Some(row) => row.and(again),
        None => again,
    }
}

/// The same model as another revision: with a description of its own, which any ONNX file may have at its end.
pub fn described(onnx: &[u8], text: &str) -> Vec<u8> {
    /// `doc_string` of a `ModelProto`.
    const DOC_STRING: u32 = 6;
    let mut described = onnx.to_vec();
    prost::encoding::string::encode(DOC_STRING, &text.to_owned(), &mut described);
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_has_other_bytes() {
        assert_eq!(described(b"m", "12"), b"m\x32\x0212");
        assert_ne!(described(b"m", "1"), described(b"m", "2"));
    }
}
