//! Mean and deviation of numbers.

/// The mean and the population standard deviation of some numbers, in 64 bits.
///
/// Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4 (1962): one
/// pass, and no difference of large sums.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Welford {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Welford {
    /// Of these numbers, in this order.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f32>) -> Self {
        let mut this = Self::default();
        numbers.into_iter().for_each(|number| this.add(f64::from(number)));
        this
    }

    fn add(&mut self, number: f64) {
        self.count += 1;
        let before = number - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (number - self.mean);
    }

    /// The mean; 0 of no numbers.
    pub(crate) const fn mean(&self) -> f64 {
        self.mean
    }

    /// The population standard deviation; 0 of no numbers.
    pub(crate) fn deviation(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }

    /// Mean and deviation as a graph holds them. A deviation of 0, also one that is 0 only in 32 bits, becomes 1: it is
    /// divided by.
    pub(crate) fn scale(&self) -> (f32, f32) {
        let deviation = rounded(self.deviation());
        (rounded(self.mean), if deviation == 0.0 { 1.0 } else { deviation })
    }
}

/// The nearest 32-bit number.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
pub(crate) const fn rounded(number: f64) -> f32 {
    number as f32
}

/// Whether two numbers are the same; 0 and -0 are.
#[expect(clippy::float_cmp, reason = "equality is meant")]
pub(crate) const fn same(one: f32, other: f32) -> bool {
    one == other
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "results are exact")]
mod tests {
    use super::*;

    #[test]
    fn mean_and_population_deviation_are_those_of_the_definition() {
        let numbers = Welford::of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((numbers.mean(), numbers.deviation()), (5.0, 2.0));
        assert_eq!(numbers.scale(), (5.0, 2.0));
    }

    #[test]
    fn large_offsets_do_not_cancel() {
        let numbers = Welford::of([1e7, 1e7 + 1.0, 1e7 + 2.0]);
        assert!((numbers.deviation() - (2.0_f64 / 3.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_divided_by_becomes_one() {
        assert_eq!(Welford::of([3.0, 3.0]).scale(), (3.0, 1.0));
        assert_eq!(Welford::of([]).scale(), (0.0, 1.0));
        // A third of the smallest number that 32 bits have.
        assert_eq!(Welford::of([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, f32::from_bits(1)]).scale().1, 1.0);
    }
}
