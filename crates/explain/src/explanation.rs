//! What an explanation says.

/// How an explanation was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// Gradients along the straight line from the baseline to the row (Sundararajan et al. 2017).
    IntegratedGradients,
    /// Shapley values of all coalitions, or of a sample of orders (Shapley 1953; Štrumbelj & Kononenko 2014).
    Shapley,
    /// One player at a time gets its baseline. Not an attribution.
    Sensitivity,
}

impl Method {
    /// The name in requests and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IntegratedGradients => "integrated_gradients",
            Self::Shapley => "shapley",
            Self::Sensitivity => "sensitivity",
        }
    }
}

/// What belongs to one player.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attribution {
    /// In the unit of the prediction; negative where the player's value makes it smaller.
    pub value: f64,
    /// How far from the exact value a sampled one may be expected to be; `None` where nothing was sampled, and where one
    /// sample cannot tell.
    pub standard_error: Option<f64>,
}

impl Attribution {
    pub(crate) const fn exact(value: f64) -> Self {
        Self { value, standard_error: None }
    }
}

/// What a prediction comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// How it was made.
    pub method: Method,
    /// What the model says of the row.
    pub prediction: f64,
    /// What it says of the baseline, on average over its rows.
    pub base_value: f64,
    /// One for each player, in their order.
    pub attributions: Vec<Attribution>,
    /// The rows that the model computed.
    pub evaluations: u64,
}

impl Explanation {
    /// What the attributions and the base value lack of the prediction.
    pub fn additivity_gap(&self) -> f64 {
        let sum: f64 = self.attributions.iter().map(|attribution| attribution.value).sum();
        self.prediction - self.base_value - sum
    }

    /// The mean of explanations of one row against one baseline row each: that against all of them. `None` of none.
    pub fn mean(explanations: &[Self]) -> Option<Self> {
        let first = explanations.first()?;
        let count = explanations.len() as f64;
        let mean = |value: &dyn Fn(&Self) -> f64| explanations.iter().map(value).sum::<f64>() / count;
        let attribution = |player: usize| {
            let of = |one: &Self| one.attributions.get(player).map_or(0.0, |attribution| attribution.value);
            Attribution::exact(mean(&of))
        };
        Some(Self {
            method: first.method,
            prediction: first.prediction,
            base_value: mean(&|one| one.base_value),
            attributions: (0..first.attributions.len()).map(attribution).collect(),
            evaluations: explanations.iter().map(|one| one.evaluations).sum(),
        })
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "results are exact")]
mod tests {
    use super::*;

    fn explanation(base_value: f64, value: f64) -> Explanation {
        Explanation {
            method: Method::IntegratedGradients,
            prediction: 4.0,
            base_value,
            attributions: vec![Attribution::exact(value)],
            evaluations: 3,
        }
    }

    #[test]
    fn the_mean_adds_up_as_its_parts_do() {
        let mean = Explanation::mean(&[explanation(1.0, 3.0), explanation(2.0, 1.0)]).unwrap();
        assert_eq!((mean.base_value, mean.attributions[0].value, mean.evaluations), (1.5, 2.0, 6));
        assert_eq!(mean.additivity_gap(), 0.5);
        assert_eq!(Explanation::mean(&[]), None);
    }
}
