//! memcached's size classes. mcache has none, but reports that memcached's tools read name the
//! class that memcached would put an item of this size into.

/// Chunk size of the first class, in bytes: memcached's header and its smallest item.
const CHUNK_MIN: usize = 96;

/// Chunk size of the last class: larger items are chains of such chunks.
const CHUNK_MAX: usize = 512 << 10;

/// Chunk sizes of all classes, in bytes, each a quarter larger than the one before. Class ids
/// begin with 1.
pub const CHUNK_SIZES: [usize; 39] = chunk_sizes();

/// The id of the class for an item of `size` bytes, header included.
pub fn of(size: usize) -> usize {
    CHUNK_SIZES.partition_point(|chunk| *chunk < size).min(CHUNK_SIZES.len() - 1) + 1
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
    fn an_item_is_in_the_first_class_that_holds_it() {
        let rows =
            [(1, 1), (96, 1), (97, 2), (120, 2), (394_841, 39), (524_288, 39), (1 << 20, 39)];
        for (size, class) in rows {
            assert_eq!(of(size), class, "{size} bytes");
        }
    }
}
