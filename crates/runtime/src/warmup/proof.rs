//! Whether the rows of a batch are independent: row *i* of a run with several different rows must be what a run of that row
//! alone gives.
//!
//! Integers, booleans and text must be equal. Floating-point numbers may differ by [`TOLERANCE`] of the largest number that
//! the output has in these runs: kernels for one row and for several add the same products in another order, and a number
//! that is small because large ones cancel keeps their error. FP16 and BF16, which have 11 and 8 bits, may differ by
//! [`HALF_TOLERANCE`].

use half::{bf16, f16};
use modelwright_protocol::{Tensor, TensorData};

/// By how much FP32 and FP64 may differ.
const TOLERANCE: f64 = 1e-5;
/// By how much FP16 and BF16 may differ.
const HALF_TOLERANCE: f64 = 1e-2;

/// Checks that the parts of a batch equal the runs of their rows alone; says what differs.
pub(super) fn check(parts: &[Vec<Tensor>], alone: &[Vec<Tensor>]) -> Result<(), String> {
    for (row, (part, alone)) in parts.iter().zip(alone.iter().cycle()).enumerate() {
        for (part, alone_output) in part.iter().zip(alone) {
            if part.shape() != alone_output.shape() || !equal(part.data(), alone_output.data()) {
                let name = part.name();
                return Err(format!(
                    "row {row} of output \"{name}\" in a batch of {} differs from the run of that row alone",
                    parts.len()
                ));
            }
        }
    }
    Ok(())
}

fn equal(one: &TensorData, other: &TensorData) -> bool {
    use TensorData::{Bf16, Fp16, Fp32, Fp64};
    match (one, other) {
        (Fp16(one), Fp16(other)) => close(one, other, HALF_TOLERANCE, |value: f16| value.to_f64()),
        (Bf16(one), Bf16(other)) => close(one, other, HALF_TOLERANCE, |value: bf16| value.to_f64()),
        (Fp32(one), Fp32(other)) => close(one, other, TOLERANCE, f64::from),
        (Fp64(one), Fp64(other)) => close(one, other, TOLERANCE, |value| value),
        _ => one == other,
    }
}

fn close<T: Copy>(one: &[T], other: &[T], tolerance: f64, number: impl Fn(T) -> f64) -> bool {
    let largest = one.iter().chain(other).map(|&value| number(value).abs()).filter(|size| size.is_finite());
    let allowed = tolerance * largest.fold(0.0, f64::max);
    one.len() == other.len()
        && one.iter().zip(other).all(|(&one, &other)| {
            let (one, other) = (number(one), number(other));
            // Infinities are equal to themselves; what is not a number is so in both.
            one.total_cmp(&other).is_eq()
                || (one.is_nan() && other.is_nan())
                || (one - other).abs() <= allowed
        })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn output(data: TensorData) -> Vec<Tensor> {
        let shape = vec![1, i64::try_from(data.len()).unwrap()];
        vec![Tensor::new("y", shape, data).unwrap()]
    }

    #[rstest]
    #[case(TensorData::Fp32(vec![1.0, 1e-7]), TensorData::Fp32(vec![1.000_005, 2e-7]), true)]
    #[case(TensorData::Fp32(vec![1.0]), TensorData::Fp32(vec![1.000_05]), false)]
    #[case(TensorData::Fp32(vec![f32::NAN, f32::INFINITY]), TensorData::Fp32(vec![f32::NAN, f32::INFINITY]), true)]
    #[case(TensorData::Fp32(vec![f32::NAN]), TensorData::Fp32(vec![1.0]), false)]
    #[case(TensorData::Fp32(vec![f32::INFINITY]), TensorData::Fp32(vec![f32::NEG_INFINITY]), false)]
    #[case(TensorData::Fp64(vec![0.0]), TensorData::Fp64(vec![-0.0]), true)]
    #[case(TensorData::Fp16(vec![f16::from_f32(1.0)]), TensorData::Fp16(vec![f16::from_f32(1.005)]), true)]
    #[case(TensorData::Bf16(vec![bf16::from_f32(1.0)]), TensorData::Bf16(vec![bf16::from_f32(1.1)]), false)]
    #[case(TensorData::Int64(vec![3]), TensorData::Int64(vec![3]), true)]
    #[case(TensorData::Int64(vec![3]), TensorData::Int64(vec![4]), false)]
    fn floats_may_differ_a_little_and_others_not(
        #[case] part: TensorData,
        #[case] alone: TensorData,
        #[case] same: bool,
    ) {
        assert_eq!(check(&[output(part)], &[output(alone)]).is_ok(), same);
    }

    #[test]
    fn a_larger_batch_repeats_the_rows() {
        let rows = [output(TensorData::Int8(vec![1])), output(TensorData::Int8(vec![2]))];
        let of = |values: &[i8]| {
            values.iter().map(|&value| output(TensorData::Int8(vec![value]))).collect::<Vec<_>>()
        };
        check(&of(&[1, 2, 1, 2, 1]), &rows).unwrap();
        let problem = check(&of(&[1, 2, 2]), &rows).unwrap_err();
        assert_eq!(problem, "row 2 of output \"y\" in a batch of 3 differs from the run of that row alone");
    }
}
