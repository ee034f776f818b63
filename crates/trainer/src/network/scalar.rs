//! The two number formats: single precision to train and serve, double precision to check gradients against differences.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use super::product::{Buffers, View, kernel, plain};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`.
pub trait Scalar:
    sealed::Sealed
    + Add<Output = Self>
    + AddAssign
    + Copy
    + Debug
    + Default
    + Div<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + PartialOrd
    + Send
    + Sub<Output = Self>
    + Sync
    + 'static
{
    /// The nearest number.
    fn from_f64(value: f64) -> Self;
    /// The same number.
    fn to_f64(self) -> f64;
    /// e to this power.
    #[must_use]
    fn exp(self) -> Self;
    /// The hyperbolic tangent.
    #[must_use]
    fn tanh(self) -> Self;
    /// The error function.
    #[must_use]
    fn erf(self) -> Self;
    #[doc(hidden)]
    fn multiply(left: View<'_, Self>, right: View<'_, Self>, out: &mut [Self], buffers: &mut Buffers<Self>);
}

impl Scalar for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest")]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn exp(self) -> Self {
        libm::expf(self)
    }

    fn tanh(self) -> Self {
        libm::tanhf(self)
    }

    fn erf(self) -> Self {
        libm::erff(self)
    }

    fn multiply(left: View<'_, Self>, right: View<'_, Self>, out: &mut [Self], buffers: &mut Buffers<Self>) {
        kernel::multiply(left, right, out, buffers);
    }
}

impl Scalar for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn exp(self) -> Self {
        libm::exp(self)
    }

    fn tanh(self) -> Self {
        libm::tanh(self)
    }

    fn erf(self) -> Self {
        libm::erf(self)
    }

    fn multiply(left: View<'_, Self>, right: View<'_, Self>, out: &mut [Self], _: &mut Buffers<Self>) {
        plain::multiply(left, right, out);
    }
}
