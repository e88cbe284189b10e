//! Numbers as the wire writes them: decimal ASCII, parsed and printed without allocating.

/// Digits in `u64::MAX`.
pub const U64_DIGITS_MAX: usize = 20;

/// Parses an unsigned decimal: digits only, at least one, no sign, no overflow.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// Parses an unsigned decimal of 32 bits.
pub fn parse_u32(text: &[u8]) -> Option<u32> {
    parse_u64(text).and_then(|number| u32::try_from(number).ok())
}

/// Parses a decimal that may be negative. Nobody writes a plus sign.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => 0i64.checked_sub_unsigned(parse_u64(digits)?),
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// Parses a signed decimal of 32 bits, as exptimes are.
pub fn parse_i32(text: &[u8]) -> Option<i32> {
    parse_i64(text).and_then(|number| i32::try_from(number).ok())
}

/// A printed number: its digits, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Digits {
    bytes: [u8; U64_DIGITS_MAX],
    start: usize,
}

impl Digits {
    /// Prints `number`.
    pub fn new(mut number: u64) -> Self {
        let mut digits = Self { bytes: [0; U64_DIGITS_MAX], start: U64_DIGITS_MAX };
        loop {
            digits.start -= 1;
            digits.bytes[digits.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Appends `number` to `out`.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, number: u64) {
    match number {
        0..10 => out.push(b'0' + number as u8),      // flags, mostly
        10..10_000 => push_short(out, number, 0, 0), // lengths, mostly
        _ => out.extend_from_slice(Digits::new(number).as_bytes()),
    }
}

/// Appends `number` and the two bytes behind it to `out`.
#[inline(always)]
pub fn push_u64_and(out: &mut Vec<u8>, number: u64, behind: [u8; 2]) {
    if number < 10_000 {
        return push_short(out, number, u16::from_le_bytes(behind), behind.len());
    }
    push_u64(out, number);
    out.extend_from_slice(&behind);
}

/// Appends a number of at most four digits and `len` bytes behind it, all of them in one word.
#[inline(always)]
fn push_short(out: &mut Vec<u8>, number: u64, behind: u16, len: usize) {
    let (high, low) = (number as u32 / 100, number as u32 % 100);
    let pairs = high | low << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f; // 103 / 1024 is 1 / 10 up to 99
    let digits = tens | (pairs - tens * 10) << 8;
    let zeros = (digits | 1 << 24).trailing_zeros() / 8; // the last digit stays
    let word = u64::from(digits | u32::from_le_bytes(*b"0000")) | u64::from(behind) << 32;
    out.extend_from_slice(&(word >> (8 * zeros)).to_le_bytes());
    out.truncate(out.len() - size_of::<u32>() - zeros as usize + len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let digits = Digits::new(number);
            assert_eq!(digits.as_bytes(), number.to_string().as_bytes());
            assert_eq!(parse_u64(digits.as_bytes()), Some(number));
        }
    }

    #[test]
    fn appends_what_it_prints() {
        let mut out = Vec::new();
        for number in (0..10_001).chain([u64::MAX]) {
            out.clear();
            push_u64(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
            out.clear();
            push_u64_and(&mut out, number, *b"-+");
            assert_eq!(out, format!("{number}-+").as_bytes());
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["", "-", "+", "-1", "1 ", " 1", "0x10", "1e3", "1.0", "18446744073709551616"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_u32(b"4294967296"), None);
        assert_eq!(parse_i32(b"2147483648"), None);
        assert_eq!(parse_i32(b"-2147483648"), Some(i32::MIN));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"+7"), None);
        assert_eq!(parse_u64(b"000000000000000000000000000007"), Some(7), "zeros in front");
    }
}
