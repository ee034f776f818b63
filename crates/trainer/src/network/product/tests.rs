use rstest::rstest;

use super::*;
use crate::random::{Purpose, Stream};

fn numbers(count: usize, position: u64) -> Vec<f32> {
    let mut stream = Stream::new(5, Purpose::Samples, position);
    (0..count).map(|_| f32::from_f64(stream.unit() - 0.5)).collect()
}

/// The definition in the module's documentation, with the rounding of this processor.
fn defined(left: View<'_, f32>, right: View<'_, f32>) -> Vec<f32> {
    definition(left, right, simd_class() != "x86-64")
}

fn definition(left: View<'_, f32>, right: View<'_, f32>, fused: bool) -> Vec<f32> {
    let element = |row: usize, column: usize| {
        let term = |sum: f32, at: usize| {
            let left = left.values[row * left.row_stride + at * left.column_stride];
            let right = right.values[at * right.row_stride + column * right.column_stride];
            if fused { left.mul_add(right, sum) } else { sum + left * right }
        };
        (0..left.columns)
            .step_by(CHAIN)
            .map(|start| (start..left.columns.min(start + CHAIN)).fold(0.0, term))
            .reduce(|sum, chain| sum + chain)
            .unwrap_or(0.0)
    };
    (0..left.rows * right.columns).map(|at| element(at / right.columns, at % right.columns)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[rstest]
#[case(1, 1, 1)]
#[case(1, 7, 1)]
#[case(3, 1, 5)]
#[case(2, 300, 1)]
#[case(1, 513, 33)]
#[case(32, 20, 128)]
#[case(13, 256, 17)]
#[case(70, 257, 40)]
#[case(200, 3, 31)]
#[case(65, 600, 9)]
#[case(5, 0, 3)]
fn products_have_the_bits_of_their_definition(
    #[case] rows: usize,
    #[case] depth: usize,
    #[case] columns: usize,
    #[values(false, true)] left_transposed: bool,
    #[values(false, true)] right_transposed: bool,
) {
    let (left, right) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
    let left = if left_transposed {
        View::new(&left, depth, rows).transposed()
    } else {
        View::new(&left, rows, depth)
    };
    let right = if right_transposed {
        View::new(&right, columns, depth).transposed()
    } else {
        View::new(&right, depth, columns)
    };
    let mut workspace = Workspace::new(1);
    let mut out = vec![f32::NAN; rows * columns];
    // What a former product left behind must not matter.
    workspace.multiply(
        View::new(&[f32::NAN; 999], 27, 37),
        View::new(&[1.0; 37 * 50], 37, 50),
        &mut [0.0; 27 * 50],
    );
    workspace.multiply(left, right, &mut out);
    assert_eq!(bits(&out), bits(&defined(left, right)));
}

/// What older processors compute, and those without AVX-512, on this one.
#[rstest]
#[case(32, 300, 128)]
#[case(70, 257, 40)]
#[case(13, 256, 17)]
#[case(9, 30, 1)]
fn every_width_of_vectors_gives_the_same_bits(
    #[case] rows: usize,
    #[case] depth: usize,
    #[case] columns: usize,
    #[values(false, true)] left_transposed: bool,
) {
    let (left, right) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
    let left = if left_transposed {
        View::new(&left, depth, rows).transposed()
    } else {
        View::new(&left, rows, depth)
    };
    let right = View::new(&right, depth, columns);
    let mut out = vec![f32::NAN; rows * columns];
    let buffers = &mut Buffers::default();
    pulp::Simd::vectorize(pulp::Scalar, kernel::Product { left, right, out: &mut out, buffers });
    assert_eq!(bits(&out), bits(&definition(left, right, false)));
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        pulp::Simd::vectorize(simd, kernel::Product { left, right, out: &mut out, buffers });
        assert_eq!(bits(&out), bits(&definition(left, right, true)));
    }
}

#[test]
fn threads_change_no_bit() {
    let (rows, depth, columns) = (301, 290, 130);
    let (left, right) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
    let left_transposed = numbers(rows * depth, 3);
    for left in [View::new(&left, rows, depth), View::new(&left_transposed, depth, rows).transposed()] {
        let right = View::new(&right, depth, columns);
        let products = [1, 2, 5].map(|threads| {
            let mut workspace = Workspace((0..threads).map(|_| Buffers::default()).collect());
            let mut out = vec![0.0; rows * columns];
            workspace.multiply(left, right, &mut out);
            bits(&out)
        });
        assert!(rows * depth * columns / WORK_OF_A_THREAD >= 2, "too small for two threads");
        assert_eq!(products[0], products[1]);
        assert_eq!(products[0], products[2]);
    }
}

#[test]
fn double_precision_follows_the_same_definition() {
    let (left, right) = (numbers(3 * 600, 1), numbers(600 * 4, 2));
    let double = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
    let mut out = vec![0.0; 12];
    Workspace::new(1).multiply(
        View::new(&double(&left), 3, 600),
        View::new(&double(&right), 600, 4),
        &mut out,
    );
    let single = defined(View::new(&left, 3, 600), View::new(&right, 600, 4));
    assert!(out.iter().zip(&single).all(|(double, single)| (double - f64::from(*single)).abs() < 1e-4));
}
