//! memcached's size classes. mcache has none, but reports that memcached's tools read name the
//! class that memcached would put an item of this size into.

/// Chunk size of the first class, in bytes: memcached's header and its smallest item.
const CHUNK_MIN: usize = 96;

/// Chunk size of the last class: larger items are chains of such chunks.
const CHUNK_MAX: usize = 512 << 10;

/// Chunk sizes of all classes, in bytes, each a quarter larger than the one before. Class ids
/// begin with 1.
pub const CHUNK_SIZES: [usize; 39] = chunk_sizes();

/// Bytes of a page that memcached cuts into chunks.
pub const PAGE: usize = 1 << 20;

/// memcached's header, the key's and the value's ends, the cas unique.
const HEADER: usize = 48 + 1 + 2 + 8;

/// Sizes up to this are looked up.
const LOOKED_UP_MAX: usize = 2048;

/// The classes of small items, by their size in units of 8 bytes: chunks are such units.
static SMALL: [u8; LOOKED_UP_MAX / 8 + 1] = small();

/// The size that memcached would give an item, in bytes.
#[inline]
pub fn item_size(key_len: usize, flags: u32, value_len: usize) -> usize {
    HEADER + key_len + if flags == 0 { 0 } else { 4 } + value_len
}

/// The id of the class for an item of `size` bytes, header included.
#[inline]
pub fn of(size: usize) -> usize {
    if size <= LOOKED_UP_MAX {
        return usize::from(SMALL[size.div_ceil(8)]);
    }
    CHUNK_SIZES.partition_point(|chunk| *chunk < size).min(CHUNK_SIZES.len() - 1) + 1
}

/// The ids of all classes.
pub fn ids() -> impl Iterator<Item = usize> {
    1..=CHUNK_SIZES.len()
}

/// Chunks of a class that fit one page.
pub fn chunks_per_page(class: usize) -> u64 {
    (PAGE / CHUNK_SIZES[class - 1]) as u64
}

const fn small() -> [u8; LOOKED_UP_MAX / 8 + 1] {
    let mut classes = [1; LOOKED_UP_MAX / 8 + 1];
    let mut unit = 0;
    while unit < classes.len() {
        let mut class = 1;
        while CHUNK_SIZES[class - 1] < unit * 8 {
            class += 1;
        }
        classes[unit] = class as u8;
        unit += 1;
    }
    classes
}

const fn chunk_sizes() -> [usize; 39] {
    let mut sizes = [CHUNK_MAX; 39];
    let mut chunk = CHUNK_MIN;
    let mut class = 0;
    while class < sizes.len() - 1 {
        sizes[class] = chunk;
        chunk = (chunk + chunk / 4).next_multiple_of(8);
        class += 1;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_memcacheds() {
        let expected = [96, 120, 152, 192, 240, 304, 384, 480, 600, 752, 944, 1184, 1480, 1856];
        assert_eq!(CHUNK_SIZES[..14], expected);
        assert_eq!(CHUNK_SIZES[36..], [315_872, 394_840, 524_288]);
    }

    #[test]
    fn items_have_memcacheds_size() {
        assert_eq!(item_size(1, 0, 0), 60);
        assert_eq!(item_size(1, 5, 3), 67);
        assert_eq!(item_size(10, 0, 2000), 2069);
        assert_eq!((chunks_per_page(1), chunks_per_page(39)), (10_922, 2));
    }

    #[test]
    fn an_item_is_in_the_first_class_that_holds_it() {
        let rows = [
            (1, 1),
            (96, 1),
            (97, 2),
            (120, 2),
            (1856, 14),
            (1857, 15),
            (2048, 15),
            (2320, 15),
            (2321, 16),
            (394_841, 39),
            (524_288, 39),
            (1 << 20, 39),
        ];
        for (size, class) in rows {
            assert_eq!(of(size), class, "{size} bytes");
        }
    }
}
