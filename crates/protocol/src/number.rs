//! Numbers from text, eight digits at a time.
//!
//! This is the hot path of JSON requests: it takes the spellings that clients write and gives the same bits as the
//! standard library's parser. Whatever is unusual (more than 19 digits, exponents far from 0, a value halfway between two
//! floats, anything that is not a number) it leaves alone by answering `None`; the general path then reads the value again
//! from its start, and finds the words for what is wrong with it.

use half::{bf16, f16};

/// The powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// What eight digits or fewer before others are multiplied by.
const SHIFTS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
/// The most decimal digits that fit into 64 bits whatever they are.
const MAX_DIGITS: usize = 19;
/// The largest power of five below 2⁶⁴, and so the largest exponent of [`FIVES`].
const MAX_POWER: i32 = 27;
/// 5^q for q from -27 to 27, scaled by a power of two to have its highest bit at 127. Those of negative q are rounded up.
static FIVES: [u128; 55] = powers_of_five();

/// An element type whose values are literals without structure: the numbers and truth values.
pub(crate) trait Scalar: Copy + Default {
    /// Reads the value whose text begins at `at`, and gives it with the position after it.
    fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)>;
}

impl Scalar for bool {
    #[inline]
    fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let rest = bytes.get(at..)?;
        if rest.starts_with(b"true") {
            Some((true, at + 4))
        } else {
            rest.starts_with(b"false").then_some((false, at + 5))
        }
    }
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Scalar for $type {
            #[inline]
            fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
                let (negative, magnitude, end) = integer(bytes, at)?;
                if negative && magnitude != 0 {
                    return None;
                }
                Some((Self::try_from(magnitude).ok()?, end))
            }
        }
    )*};
}
unsigned!(u8, u16, u32, u64);

macro_rules! signed {
    ($($type:ty),*) => {$(
        impl Scalar for $type {
            #[inline]
            fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
                let (negative, magnitude, end) = integer(bytes, at)?;
                let value =
                    if negative { 0_i64.checked_sub_unsigned(magnitude)? } else { i64::try_from(magnitude).ok()? };
                Some((Self::try_from(value).ok()?, end))
            }
        }
    )*};
}
signed!(i8, i16, i32, i64);

impl Scalar for f64 {
    #[inline]
    fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let (decimal, end) = decimal(bytes, at)?;
        Some((decimal.nearest_double()?, end))
    }
}

impl Scalar for f32 {
    #[inline]
    fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let (decimal, end) = decimal(bytes, at)?;
        Some((single(decimal.nearest_double()?)?, end))
    }
}

macro_rules! half {
    ($($type:ty),*) => {$(
        impl Scalar for $type {
            #[inline]
            fn scan(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
                let (decimal, end) = decimal(bytes, at)?;
                let value = Self::from_f64(decimal.nearest_double()?);
                value.is_finite().then_some((value, end))
            }
        }
    )*};
}
half!(f16, bf16);

/// The single nearest to a decimal whose nearest double is `value`.
///
/// Rounding twice goes wrong only where the first rounding lands exactly between two singles. Singles below the normal
/// range have their midpoints elsewhere, and beyond the largest one there is no single: both are left to others.
#[inline]
fn single(value: f64) -> Option<f32> {
    /// The bits of a double that a single lacks, and their value halfway between two singles.
    const LOST: u64 = (1 << 29) - 1;
    const HALFWAY: u64 = 1 << 28;
    let subnormal = value != 0.0 && value.abs() < f64::from(f32::MIN_POSITIVE);
    if value.to_bits() & LOST == HALFWAY || subnormal {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
    let value = value as f32;
    value.is_finite().then_some(value)
}

/// The number `mantissa` × 10^`exponent`, or its negative.
struct Decimal {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl Decimal {
    /// The nearest double, ties to even.
    #[inline]
    fn nearest_double(&self) -> Option<f64> {
        let power = usize::try_from(self.exponent.unsigned_abs()).ok()?;
        let value = match EXACT_POWERS.get(power) {
            // Both are exact, so the only rounding is that of the operation (Clinger 1990).
            Some(power) if self.mantissa <= 1 << 53 => {
                let mantissa = self.mantissa as f64;
                if self.exponent < 0 { mantissa / power } else { mantissa * power }
            }
            _ => f64::from_bits(nearest_bits(self.mantissa, self.exponent)?),
        };
        // The sign of the text is as good as random, so it is no branch.
        Some(f64::from_bits(value.to_bits() | u64::from(self.negative) << 63))
    }
}

/// The bits of the double nearest to `mantissa` × 10^`exponent`, by one or two products of 64 bits.
///
/// Source: D. Lemire, "Number parsing at a gigabyte per second" (2021), algorithm 1; for exponents of at most 27 either way
/// the product always decides (N. Mushtak, D. Lemire, "Fast number parsing without fallback", 2023), and no result is
/// subnormal or infinite.
#[expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the exponent of the result is from 900 to 1200, and counts of bits are at most 64"
)]
fn nearest_bits(mantissa: u64, exponent: i32) -> Option<u64> {
    /// The bits of the high half that rounding looks at last; all ones may yet carry.
    const UNDECIDED: u64 = 0x1ff;
    if mantissa == 0 {
        return Some(0);
    }
    if exponent.abs() > MAX_POWER {
        return None;
    }
    let five = FIVES[(exponent + MAX_POWER) as usize];
    let zeros = mantissa.leading_zeros();
    let factor = u128::from(mantissa << zeros);
    let mut product = factor * (five >> 64);
    if (product >> 64) as u64 & UNDECIDED == UNDECIDED {
        product += (factor * (five & u128::from(u64::MAX))) >> 64;
    }
    let (high, low) = ((product >> 64) as u64, product as u64);
    let carry = (high >> 63) as i32;
    let shift = carry + 9;
    let mut bits = high >> shift;
    // The scale of a power of five in binary: floor(log2(5^q)) + q, plus what the normalizations moved.
    let mut power = ((217_706 * exponent) >> 16) + 63 + carry - zeros as i32 + 1023;
    // Exactly halfway, which these exponents allow: to even, that is, not up.
    if low <= 1 && (-4..=23).contains(&exponent) && bits & 3 == 1 && bits << shift == high {
        bits &= !1;
    }
    bits = (bits + (bits & 1)) >> 1;
    if bits >= 2 << 52 {
        bits = 1 << 52;
        power += 1;
    }
    Some((bits & ((1 << 52) - 1)) | ((power as u64) << 52))
}

const fn powers_of_five() -> [u128; 55] {
    let mut table = [1 << 127; 55];
    let (mut power, mut exponent) = (1_u128, 1);
    while exponent <= MAX_POWER as usize {
        power *= 5;
        let length = 128 - power.leading_zeros();
        table[MAX_POWER as usize + exponent] = power << (128 - length);
        // Long division of 2^(127 + length) by the power, bit by bit.
        let (mut quotient, mut remainder, mut bit) = (0_u128, 1_u128, 0);
        while bit < 127 + length {
            remainder <<= 1;
            quotient <<= 1;
            if remainder >= power {
                remainder -= power;
                quotient |= 1;
            }
            bit += 1;
        }
        table[MAX_POWER as usize - exponent] = quotient + 1;
        exponent += 1;
    }
    table
}

/// Reads an integer of at most 19 digits: whether it has a minus, its magnitude, and the position after it.
#[inline]
fn integer(bytes: &[u8], at: usize) -> Option<(bool, u64, usize)> {
    let (negative, start) = minus(bytes, at);
    let (magnitude, end) = whole_digits(bytes, start)?;
    (end - start <= MAX_DIGITS).then_some((negative, magnitude, end))
}

/// Reads a number of at most 19 significant digits, and gives it with the position after it.
#[inline]
fn decimal(bytes: &[u8], at: usize) -> Option<(Decimal, usize)> {
    let usual = bytes.get(at..).and_then(<[u8]>::first_chunk).and_then(fraction);
    match usual {
        Some((decimal, length)) => Some((decimal, at + length)),
        None => any_decimal(bytes, at),
    }
}

/// Reads a number that has one digit before its point and at most sixteen after it, the way in which scaled features are
/// mostly written, and gives it with its length. The text is long enough for every look ahead, so that nothing is checked.
#[inline]
fn fraction(text: &[u8; 32]) -> Option<(Decimal, usize)> {
    let negative = text[0] == b'-';
    let start = usize::from(negative);
    let first = text[start].wrapping_sub(b'0');
    if first > 9 || text[start + 1] != b'.' {
        return None;
    }
    let (values, mut count) = leading_digits(*text[start + 2..].first_chunk()?);
    let mut mantissa = u64::from(first) * SHIFTS[count] + value_of(values, count);
    let mut next = text[start + 2 + count];
    // Whether there were eight says nearly the same, but is hard to foresee: lengths of 7 and 8 come mixed.
    if next.is_ascii_digit() {
        let (values, more) = leading_digits(*text[start + 10..].first_chunk()?);
        mantissa = mantissa * SHIFTS[more] + value_of(values, more);
        count = 8 + more;
        next = text[start + 10 + more];
    }
    if count == 0 || next.is_ascii_digit() || matches!(next, b'e' | b'E') {
        return None;
    }
    let exponent = -i32::try_from(count).ok()?;
    Some((Decimal { negative, mantissa, exponent }, start + 2 + count))
}

/// Reads a number in any spelling.
fn any_decimal(bytes: &[u8], at: usize) -> Option<(Decimal, usize)> {
    let (negative, start) = minus(bytes, at);
    let (mut mantissa, mut end) = whole_digits(bytes, start)?;
    let mut exponent = 0;
    if bytes.get(end) == Some(&b'.') {
        let point = end;
        (mantissa, end) = digits(bytes, point + 1, mantissa)?;
        let count = end - point - 1;
        if count == 0 {
            return None;
        }
        exponent = -i32::try_from(count).ok()?;
    }
    if end - start > MAX_DIGITS && significant(bytes.get(start..end)?) > MAX_DIGITS {
        return None;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let (power, after) = power_of_ten(bytes, end + 1)?;
        exponent += power;
        end = after;
    }
    Some((Decimal { negative, mantissa, exponent }, end))
}

#[inline]
fn minus(bytes: &[u8], at: usize) -> (bool, usize) {
    let negative = bytes.get(at) == Some(&b'-');
    (negative, at + usize::from(negative))
}

/// Reads one or more digits without leading zeros. Beyond 64 bits the value wraps around.
#[inline]
fn whole_digits(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = digit(bytes, at)?;
    match bytes.get(at + 1) {
        Some(b'0'..=b'9') if first == 0 => None,
        Some(b'0'..=b'9') => digits(bytes, at + 1, first),
        _ => Some((first, at + 1)),
    }
}

/// Reads digits after those that `value` holds. Beyond 64 bits the value wraps around.
///
/// Answers `None` near the end of the text, where there are no eight bytes to look at.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mut value: u64) -> Option<(u64, usize)> {
    loop {
        let (values, count) = leading_digits(*bytes.get(at..)?.first_chunk()?);
        value = value.wrapping_mul(SHIFTS[count]).wrapping_add(value_of(values, count));
        at += count;
        // Whether there were fewer than eight says the same, but is hard to foresee: lengths of 7 and 8 come mixed.
        if digit(bytes, at).is_none() {
            return Some((value, at));
        }
    }
}

/// The text with its digits as numbers, and how many digits it begins with.
#[inline]
fn leading_digits(text: [u8; 8]) -> (u64, usize) {
    // Bytes of digits become 0 to 9. Others become more than 9 and get their highest bit set by the sum; a carry out of one
    // of those reaches only later bytes, and the first is what counts.
    let values = u64::from_le_bytes(text) ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    (values, others.trailing_zeros() as usize / 8)
}

/// The value of the first `count` of eight digits.
#[inline]
fn value_of(values: u64, count: usize) -> u64 {
    // Zeros move in before the digits. Two shifts, because a number cannot be shifted by all of its bits.
    let shift = 32 - 4 * count;
    let digits = (values << shift) << shift;
    // Pairs of digits, then the eight in one product for each half of the pairs.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let odd = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let even = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    odd.wrapping_add(even) >> 32
}

/// Reads a signed exponent of up to three digits.
#[inline]
fn power_of_ten(bytes: &[u8], at: usize) -> Option<(i32, usize)> {
    let sign = bytes.get(at)?;
    let mut end = at + usize::from(matches!(sign, b'+' | b'-'));
    let mut power = i32::try_from(digit(bytes, end)?).ok()?;
    end += 1;
    for _ in 0..2 {
        let Some(next) = digit(bytes, end) else { break };
        power = power * 10 + i32::try_from(next).ok()?;
        end += 1;
    }
    Some((if *sign == b'-' { -power } else { power }, end))
}

#[inline]
fn digit(bytes: &[u8], at: usize) -> Option<u64> {
    let value = bytes.get(at)?.wrapping_sub(b'0');
    (value < 10).then_some(u64::from(value))
}

/// The number of digits after leading zeros.
#[cold]
fn significant(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte != b'.').skip_while(|&&byte| byte == b'0').count()
}

#[cfg(test)]
mod tests;
