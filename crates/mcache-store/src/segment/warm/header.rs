//! The first page of a memory file: what the rest of it is. It stands there twice, so that one
//! damaged page does not cost the whole cache.

use super::super::arena::Geometry;
use super::super::checksum;
use super::super::memory::PAGE;

/// What every memory file of mcache begins with.
const MAGIC: &[u8; 16] = b"mcache memory\r\n\x1a";

/// Bytes of it by which a damaged one is still known.
const MAGIC_LEAST: usize = 12;

/// The format that this program writes and reads. A change of anything in the file raises it.
pub const FORMAT: u32 = 3;

/// How often the header stands in the file: in so many pages, from the first on.
pub const COPIES: usize = 2;

/// What the rest of a memory file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the arena is cut.
    pub geometry: Geometry,
    /// What keys are hashed with.
    pub secret: [u64; 2],
    /// When the machine was booted that the file was mapped on.
    pub boot_id: [u8; 16],
    /// What the system's clock since boot, in milliseconds, was when the cache's was 0.
    pub clock_origin_ms: i64,
}

/// What the header's pages hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A header.
    Header(Header),
    /// Nothing but zeros: a new file, or one that lost its beginning.
    Zeros,
    /// A header of mcache's that is damaged, in all copies.
    Damaged,
    /// A header of this other format.
    OtherFormat(u32),
    /// Something else.
    NotOurs,
}

/// Reads fields one after the other.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

impl Header {
    /// The header as its pages hold it.
    pub fn pages(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&FORMAT.to_le_bytes());
        page.extend_from_slice(&[0; 4]); // the checksum's place
        page.extend_from_slice(&self.geometry.segment_shift.to_le_bytes());
        page.extend_from_slice(&self.geometry.granule_shift.to_le_bytes());
        page.extend_from_slice(&(self.geometry.segments as u64).to_le_bytes());
        self.secret.iter().for_each(|half| page.extend_from_slice(&half.to_le_bytes()));
        page.extend_from_slice(&self.boot_id);
        page.extend_from_slice(&self.clock_origin_ms.to_le_bytes());
        page.resize(PAGE, 0);
        let sum = checksum_of(&page).to_le_bytes();
        page[MAGIC.len() + 4..MAGIC.len() + 8].copy_from_slice(&sum);
        page.repeat(COPIES)
    }

    /// What the beginning of a file holds; bytes that it does not have are zero.
    pub fn read(pages: &[u8]) -> Found {
        if pages.iter().all(|&byte| byte == 0) {
            return Found::Zeros;
        }
        let found = pages.chunks(PAGE).map(Self::read_one);
        // The best of them: a header, then what says most about the file.
        found.max_by_key(Found::worth).unwrap_or(Found::NotOurs)
    }

    fn read_one(page: &[u8]) -> Found {
        let mut fields = Fields(page);
        let magic: [u8; MAGIC.len()] = fields.take().unwrap_or_default();
        if magic != *MAGIC {
            let same = magic.iter().zip(MAGIC).filter(|(one, other)| one == other).count();
            return if same >= MAGIC_LEAST { Found::Damaged } else { Found::NotOurs };
        }
        let (Some(format), Some(sum)) = (fields.u32(), fields.u32()) else { return Found::Damaged };
        if sum != checksum_of(page) {
            return Found::Damaged;
        }
        if format != FORMAT {
            return Found::OtherFormat(format);
        }
        Self::of(fields).map_or(Found::Damaged, Found::Header)
    }

    fn of(mut fields: Fields<'_>) -> Option<Self> {
        let (segment_shift, granule_shift) = (fields.u32()?, fields.u32()?);
        let segments = usize::try_from(fields.u64()?).ok()?;
        let geometry = Geometry { segment_shift, granule_shift, segments };
        let secret = [fields.u64()?, fields.u64()?];
        let boot_id = fields.take()?;
        let clock_origin_ms = i64::from_le_bytes(fields.take()?);
        geometry.is_sound().then_some(Self { geometry, secret, boot_id, clock_origin_ms })
    }
}

impl Found {
    fn worth(&self) -> u8 {
        match self {
            Self::Header(_) => 4,
            Self::OtherFormat(_) => 3,
            Self::Damaged => 2,
            Self::NotOurs => 1,
            Self::Zeros => 0,
        }
    }
}

/// The checksum of a page but for the checksum's own place.
fn checksum_of(page: &[u8]) -> u32 {
    let (head, rest) = page.split_at(page.len().min(MAGIC.len() + 4));
    checksum::append(checksum::append(0, head), rest.get(4..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let geometry = Geometry::of(1 << 30);
        Header { geometry, secret: [1, u64::MAX], boot_id: [7; 16], clock_origin_ms: -5 }
    }

    #[test]
    fn one_good_copy_is_enough() {
        let whole = header().pages();
        assert_eq!(Header::read(&whole), Found::Header(header()));
        assert_eq!(Header::read(&whole[..PAGE]), Found::Header(header()));
        for damage in 0..PAGE {
            let mut pages = whole.clone();
            pages[damage] ^= 4;
            assert_eq!(Header::read(&pages), Found::Header(header()), "byte {damage}");
            assert_eq!(Header::read(&pages[..PAGE]), Found::Damaged, "byte {damage}, no copy");
        }
    }

    #[test]
    fn an_arena_that_nobody_cuts_is_damage() {
        for capacity in [1 << 20, 64 << 20, 1 << 30, 17 << 30, 5 << 40] {
            let geometry = Geometry::of(capacity);
            let read = |geometry| Header::read(&Header { geometry, ..header() }.pages());
            assert!(matches!(read(geometry), Found::Header(_)), "{capacity}");
            for wrong in [
                Geometry { segments: geometry.segments / 2, ..geometry },
                Geometry { segments: geometry.segments + 1, ..geometry },
                Geometry { segments: 1 << 63, ..geometry },
                Geometry { segments: 0, ..geometry },
                Geometry { granule_shift: geometry.granule_shift + 1, ..geometry },
                Geometry { granule_shift: u32::MAX, ..geometry },
                Geometry { segment_shift: 63, ..geometry },
                Geometry { segment_shift: 13, ..geometry },
            ] {
                assert_eq!(read(wrong), Found::Damaged, "{wrong:?}");
            }
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        let mut newer = header().pages();
        newer[MAGIC.len()] = 9;
        let sum = checksum_of(&newer[..PAGE]).to_le_bytes();
        newer[MAGIC.len() + 4..MAGIC.len() + 8].copy_from_slice(&sum);
        for (file, expected) in [
            (vec![0; 2 * PAGE], Found::Zeros),
            (Vec::new(), Found::Zeros),
            (b"some letter".to_vec(), Found::NotOurs),
            (MAGIC.to_vec(), Found::Damaged),
            (newer[..PAGE].to_vec(), Found::OtherFormat(9)),
        ] {
            assert_eq!(Header::read(&file), expected);
        }
    }
}
