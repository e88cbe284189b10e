//! Where words end: eight bytes are looked at at once. Words are short, and a call that can search
//! kilobytes costs more than it saves.

/// Position of the first space or control character of `text`; its length if there is none.
#[inline]
pub(crate) fn word_end(text: &[u8]) -> usize {
    let (chunks, tail) = text.as_chunks();
    for (index, chunk) in chunks.iter().enumerate() {
        let marks = up_to_space(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let end = tail.iter().position(|&byte| byte <= b' ');
    text.len() - tail.len() + end.unwrap_or(tail.len())
}

/// Position of the first space of `text`; its length if there is none.
#[inline]
pub(crate) fn space(text: &[u8]) -> usize {
    let end = word_end(text);
    match text.get(end) {
        None | Some(b' ') => end,
        Some(_) => text.iter().position(|&byte| byte == b' ').unwrap_or(text.len()),
    }
}

/// Marks the bytes that are at most a space in their highest bits: the first such byte for sure,
/// those behind it perhaps wrongly.
#[inline]
fn up_to_space(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    word.wrapping_sub(ONES * (b' ' as u64 + 1)) & !word & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_plain_search_finds() {
        for len in 0..40 {
            for stop in [b' ', b'\r', b'\n', 0, 0x1f, b'!', 0x7f, 0x80, 0xa0, 0xff] {
                for at in 0..len {
                    let mut text = vec![b'k'; len];
                    text[at] = stop;
                    text[len - 1] = b' ';
                    let plain = |is_end: fn(u8) -> bool| text.iter().position(|&it| is_end(it));
                    assert_eq!(Some(word_end(&text)), plain(|it| it <= b' '), "{text:?}");
                    assert_eq!(Some(space(&text)), plain(|it| it == b' '), "{text:?}");
                }
            }
            let text = vec![0xe9; len];
            assert_eq!((word_end(&text), space(&text)), (len, len));
        }
    }
}
