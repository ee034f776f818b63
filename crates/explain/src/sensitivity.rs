//! What changes if one player alone gets its baseline (occlusion).

use crate::coalition::{Batch, Coalition, values};
use crate::error::Error;
use crate::explanation::{Attribution, Explanation, Method};

/// How much the prediction falls when each player alone gets its baseline: v(all) - v(all but the player).
///
/// These do not add up, so they say how sensitive the prediction is to a column and not what it comes from: columns that
/// stand in for each other get nothing, and such that only work together get too much. `background_rows` is only counted:
/// `evaluate` gives the mean over them.
pub async fn sensitivities<E, F: Future<Output = Result<Vec<f64>, E>>>(
    players: usize,
    background_rows: u64,
    max_evaluations: u64,
    batch: Batch,
    mut evaluate: impl FnMut(Vec<Coalition>) -> F,
) -> Result<Explanation, Error<E>> {
    let needed = (players as u64).saturating_add(2).saturating_mul(background_rows);
    if needed > max_evaluations {
        let method = Method::Sensitivity.name();
        return Err(Error::TooFewEvaluations { method, players, needed, allowed: max_evaluations });
    }
    let ends = vec![Coalition::none(players), Coalition::all(players)];
    let ends = values(ends, batch, &mut evaluate).await?;
    let (base_value, prediction) = (ends[0], ends[1]);
    let without = |player| {
        let mut coalition = Coalition::all(players);
        coalition.set(player, false);
        coalition
    };
    let found = values((0..players).map(without), batch, &mut evaluate).await?;
    let attributions = found.iter().map(|value| Attribution::exact(prediction - value)).collect();
    Ok(Explanation { method: Method::Sensitivity, prediction, base_value, attributions, evaluations: needed })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// The larger of two values that are both 1, against 0.
    fn larger(max_evaluations: u64) -> Result<Explanation, Error<()>> {
        let evaluate = |coalitions: Vec<Coalition>| async move {
            let value = |coalition: &Coalition| f64::from(u8::from(coalition.has(0) || coalition.has(1)));
            Ok::<_, ()>(coalitions.iter().map(value).collect())
        };
        sensitivities(2, 1, max_evaluations, Batch::default(), evaluate).now_or_never().unwrap()
    }

    #[test]
    fn columns_that_stand_in_for_each_other_have_none_and_the_gap_tells() {
        let explanation = larger(4).unwrap();
        assert!(explanation.attributions.iter().all(|attribution| attribution.value == 0.0));
        assert_eq!((explanation.additivity_gap(), explanation.evaluations), (1.0, 4));
    }

    #[test]
    fn more_evaluations_than_allowed_are_refused() {
        let method = "sensitivity";
        let refused = Error::TooFewEvaluations { method, players: 2, needed: 4, allowed: 3 };
        assert_eq!(larger(3).unwrap_err(), refused);
    }
}
