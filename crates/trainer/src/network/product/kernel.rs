//! Products in single precision, close to what the processor can do.
//!
//! The product is computed in tiles of a few rows and two vectors, whose sums stay in registers (Goto & van de Geijn,
//! "Anatomy of high-performance matrix multiplication", 2008). A tile takes a row of the right factor, a vector at a time,
//! and multiplies it with single numbers of the left one. So the right factor must have its rows in one piece: where it has
//! not, or where many rows of the left factor make it worth it, it is copied into panels of a tile's width first.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the processor's vectors")]

use pulp::{Arch, Simd, WithSimd};

use super::{Buffers, CHAIN, View};

/// The most rows of a tile.
const TALLEST: usize = 8;

/// Rows of the left factor above which the right one is copied into panels.
const PACKED_ABOVE: usize = 64;

/// Tiles that are computed under each other before the next panel is taken, so that their rows stay in the cache.
const TILES_OF_A_STRIP: usize = 24;

/// The class of processor instructions that decides how products are rounded, recorded in provenance: `x86-64-v3` (with
/// fused multiply-add; AVX-512 is only faster), `x86-64`, or the architecture's name. Digests are the same within one
/// class.
pub fn simd_class() -> &'static str {
    if cfg!(not(target_arch = "x86_64")) {
        std::env::consts::ARCH
    } else if Arch::new().dispatch(Fused) {
        "x86-64-v3"
    } else {
        "x86-64"
    }
}

/// Whether products round once for multiplication and addition.
struct Fused;

impl WithSimd for Fused {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        fused::<S>()
    }
}

/// Without vectors there is no such instruction either, and computing it otherwise is very slow.
#[inline(always)]
const fn fused<S: Simd>() -> bool {
    S::F32_LANES > 1
}

/// Writes the product into `out`, row after row.
pub(in crate::network) fn multiply(
    left: View<'_, f32>,
    right: View<'_, f32>,
    out: &mut [f32],
    buffers: &mut Buffers<f32>,
) {
    let (rows, columns) = (left.rows, right.columns);
    // Both products have the same bits. The other way round, fewer numbers must be copied into panels.
    if right.column_stride == 1 || left.column_stride != 1 || rows >= columns {
        return Arch::new().dispatch(Product { left, right, out, buffers });
    }
    let mut product = std::mem::take(&mut buffers.product);
    product.resize(rows * columns, 0.0);
    let (left, right) = (right.transposed(), left.transposed());
    Arch::new().dispatch(Product { left, right, out: &mut product, buffers });
    for (row, out) in out.chunks_exact_mut(columns).enumerate() {
        out.iter_mut().zip(product[row..].iter().step_by(rows)).for_each(|(to, from)| *to = *from);
    }
    buffers.product = product;
}

pub(super) struct Product<'a> {
    pub(super) left: View<'a, f32>,
    pub(super) right: View<'a, f32>,
    pub(super) out: &'a mut [f32],
    pub(super) buffers: &'a mut Buffers<f32>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, right, out, buffers } = self;
        if left.columns == 0 {
            return out.fill(0.0);
        }
        let width = 2 * S::F32_LANES;
        let tallest = if S::REGISTER_COUNT >= 32 { TALLEST } else { 6 };
        // Tiles of nearly the same height: a flat one at the end would wait for its own sums.
        let tiles = Tiles { rows: left.rows, count: left.rows.div_ceil(tallest) };
        let packed = right.column_stride != 1 || left.rows > PACKED_ABOVE;
        let strip = if left.column_stride == 1 { TILES_OF_A_STRIP } else { 1 };
        for start in (0..left.columns).step_by(CHAIN) {
            let depth = CHAIN.min(left.columns - start);
            let panels = Panels::of(right, start, depth, width, packed, &mut buffers.panels);
            for first in (0..tiles.count).step_by(strip) {
                let strip = first..tiles.count.min(first + strip);
                let column_of_left = left.column_stride != 1;
                if column_of_left {
                    pack_block(left, tiles.span(first), start, depth, &mut buffers.block);
                }
                for column in (0..right.columns).step_by(width) {
                    for tile in strip.clone() {
                        let (row, height) = tiles.span(tile);
                        let rows = if column_of_left {
                            Rows::Block(&buffers.block)
                        } else {
                            Rows::Strided(&left.values[row * left.row_stride + start..], left.row_stride)
                        };
                        let task = Tile {
                            rows,
                            panel: panels.at(column),
                            depth,
                            out: &mut out[row * right.columns + column..],
                            stride: right.columns,
                            columns: width.min(right.columns - column),
                            first: start == 0,
                        };
                        task.compute(simd, height);
                    }
                }
            }
        }
    }
}

/// The rows of a product, cut into tiles.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    count: usize,
}

impl Tiles {
    /// The first row of a tile, and how many it has.
    #[inline(always)]
    fn span(self, tile: usize) -> (usize, usize) {
        let (height, taller) = (self.rows / self.count, self.rows % self.count);
        (tile * height + tile.min(taller), height + usize::from(tile < taller))
    }
}

/// Copies some rows of a transposed left factor, number by number for each depth.
#[inline(always)]
fn pack_block(
    left: View<'_, f32>,
    (row, height): (usize, usize),
    start: usize,
    depth: usize,
    block: &mut Vec<f32>,
) {
    block.clear();
    let columns = left.values[start * left.column_stride..].chunks(left.column_stride).take(depth);
    columns.for_each(|column| block.extend_from_slice(&column[row..row + height]));
}

/// The right factor of one chain, where each tile finds its columns.
struct Panels<'a> {
    /// The factor itself, from the first term of the chain on.
    direct: &'a [f32],
    stride: usize,
    /// Copied panels, one after the other.
    packed: &'a [f32],
    /// The column from which on they are used.
    packed_from: usize,
    depth: usize,
}

impl<'a> Panels<'a> {
    #[inline(always)]
    fn of(
        right: View<'a, f32>,
        start: usize,
        depth: usize,
        width: usize,
        packed: bool,
        panels: &'a mut Vec<f32>,
    ) -> Self {
        // A tile reads whole vectors, so the last columns are copied where they do not fill them.
        let packed_from = if packed { 0 } else { right.columns / width * width };
        // What stays in the columns beyond the last one is computed with and thrown away.
        panels.resize((right.columns - packed_from).div_ceil(width) * width * depth, 0.0);
        for (panel, column) in
            panels.chunks_exact_mut(width * depth).zip((packed_from..right.columns).step_by(width))
        {
            let columns = width.min(right.columns - column);
            if right.column_stride == 1 {
                for (at, line) in panel.chunks_exact_mut(width).enumerate() {
                    let from = (start + at) * right.row_stride + column;
                    line[..columns].copy_from_slice(&right.values[from..from + columns]);
                }
            } else {
                for at in 0..columns {
                    let from = (column + at) * right.column_stride + start;
                    let values = &right.values[from..from + depth];
                    panel[at..].iter_mut().step_by(width).zip(values).for_each(|(to, from)| *to = *from);
                }
            }
        }
        let direct = if packed { &[][..] } else { &right.values[start * right.row_stride..] };
        Self { direct, stride: right.row_stride, packed: panels, packed_from, depth }
    }

    /// The numbers from a column on, and how far apart their rows are.
    #[inline(always)]
    fn at(&self, column: usize) -> (&'a [f32], Option<usize>) {
        match column.checked_sub(self.packed_from) {
            Some(column) => (&self.packed[column * self.depth..], None),
            None => (&self.direct[column..], Some(self.stride)),
        }
    }
}

/// The left factor's numbers of a tile.
#[derive(Clone, Copy)]
enum Rows<'a> {
    /// Each row in one piece, that far apart.
    Strided(&'a [f32], usize),
    /// For each depth the numbers of all rows.
    Block(&'a [f32]),
}

/// One tile and one chain of its sums.
struct Tile<'a> {
    rows: Rows<'a>,
    /// The right factor's numbers, and how far apart its rows are; `None`: packed to the width of a tile.
    panel: (&'a [f32], Option<usize>),
    depth: usize,
    out: &'a mut [f32],
    stride: usize,
    columns: usize,
    /// Whether this is the first chain, which replaces what is in `out`.
    first: bool,
}

impl Tile<'_> {
    #[inline(always)]
    fn compute<S: Simd>(self, simd: S, height: usize) {
        match height {
            1 => simd.vectorize(Sized::<1>(self)),
            2 => simd.vectorize(Sized::<2>(self)),
            3 => simd.vectorize(Sized::<3>(self)),
            4 => simd.vectorize(Sized::<4>(self)),
            5 => simd.vectorize(Sized::<5>(self)),
            6 => simd.vectorize(Sized::<6>(self)),
            7 => simd.vectorize(Sized::<7>(self)),
            _ => simd.vectorize(Sized::<TALLEST>(self)),
        }
    }
}

/// A tile whose height the compiler knows.
struct Sized<'a, const HEIGHT: usize>(Tile<'a>);

impl<const HEIGHT: usize> WithSimd for Sized<'_, HEIGHT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = 2 * S::F32_LANES;
        let (values, stride) = self.0.panel;
        let stride = stride.unwrap_or(width);
        // One vector is enough for the last columns of many products, such as those of a network with one output.
        if self.0.columns > S::F32_LANES {
            let lines = values.chunks(stride).map(|line| {
                let (vectors, _) = S::as_simd_f32s(&line[..width]);
                [vectors[0], vectors[1]]
            });
            self.with_lines(simd, lines);
        } else {
            let lines = values.chunks(stride).map(|line| [S::as_simd_f32s(&line[..width]).0[0]]);
            self.with_lines(simd, lines);
        }
    }
}

impl<const HEIGHT: usize> Sized<'_, HEIGHT> {
    #[inline(always)]
    fn with_lines<S: Simd, const VECTORS: usize>(
        self,
        simd: S,
        lines: impl Iterator<Item = [S::f32s; VECTORS]>,
    ) {
        let Tile { rows, panel: _, depth, out, stride, columns, first } = self.0;
        let sums = match rows {
            Rows::Strided(values, stride) => {
                let rows: [&[f32]; HEIGHT] = std::array::from_fn(|row| &values[row * stride..][..depth]);
                let numbers = (0..depth).map(|at| std::array::from_fn(|row| rows[row][at]));
                chain::<S, HEIGHT, VECTORS>(simd, numbers, lines)
            }
            Rows::Block(values) => {
                let numbers = values.as_chunks::<HEIGHT>().0.iter().copied();
                chain::<S, HEIGHT, VECTORS>(simd, numbers, lines)
            }
        };
        // Rows are named one by one: an index that varies would force the sums out of their registers.
        macro_rules! write {
            ($($row:literal)*) => {$(
                if let Some(sums) = sums.get($row) {
                    write_row(simd, &mut out[$row * stride..][..columns], sums, first);
                }
            )*};
        }
        write!(0 1 2 3 4 5 6 7);
    }
}

/// The sums of one chain: for each row, numbers of `left` times lines of `right`.
#[inline(always)]
fn chain<S: Simd, const HEIGHT: usize, const VECTORS: usize>(
    simd: S,
    left: impl Iterator<Item = [f32; HEIGHT]>,
    right: impl Iterator<Item = [S::f32s; VECTORS]>,
) -> [[S::f32s; VECTORS]; HEIGHT] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; HEIGHT];
    for (numbers, line) in left.zip(right) {
        for (sums, number) in sums.iter_mut().zip(numbers) {
            let number = simd.splat_f32s(number);
            for (sum, vector) in sums.iter_mut().zip(line) {
                *sum = if fused::<S>() {
                    simd.mul_add_f32s(number, vector, *sum)
                } else {
                    simd.add_f32s(*sum, simd.mul_f32s(number, vector))
                };
            }
        }
    }
    sums
}

#[inline(always)]
fn write_row<S: Simd, const VECTORS: usize>(
    simd: S,
    out: &mut [f32],
    sums: &[S::f32s; VECTORS],
    first: bool,
) {
    for (out, sum) in out.chunks_mut(S::F32_LANES).zip(*sums) {
        if let ([whole], []) = S::as_mut_simd_f32s(out) {
            *whole = if first { sum } else { simd.add_f32s(*whole, sum) };
        } else {
            let sum = if first { sum } else { simd.add_f32s(simd.partial_load_f32s(out), sum) };
            simd.partial_store_f32s(out, sum);
        }
    }
}
