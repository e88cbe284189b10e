//! How the peer wants to be answered: the wire detail that must survive execution, and no more.

/// The style of one request's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style<'b> {
    /// Classic text.
    Text(TextStyle),
    /// Meta: the request's flags decide the answer's, in the same order.
    Meta(MetaStyle<'b>),
    /// Binary: the header's echo.
    Binary(BinaryStyle<'b>),
}

impl Style<'_> {
    /// Whether the request was one of meta.
    #[inline]
    pub fn is_meta(&self) -> bool {
        matches!(self, Self::Meta(_))
    }

    /// Whether a fetch is a touch, whose answer does not hold the value.
    #[inline]
    pub fn is_touch(&self) -> bool {
        match self {
            Self::Text(style) => style.hit == TextHit::Touched,
            Self::Binary(style) => style.without_value,
            Self::Meta(_) => false,
        }
    }

    /// Whether a fetch counts as one in `stats detail`, as memcached has it: those of meta and
    /// the text touch do not.
    #[inline]
    pub fn is_get(&self) -> bool {
        !matches!(self, Self::Meta(_) | Self::Text(TextStyle { hit: TextHit::Touched, .. }))
    }
}

/// Classic text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStyle {
    /// The peer asked for no answer, and gets none: not even an error.
    pub noreply: bool,
    /// What a found item looks like.
    pub hit: TextHit,
}

/// What a found item looks like in classic text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextHit {
    /// `TOUCHED` or `NOT_FOUND`.
    #[default]
    Touched,
    /// `VALUE ...`, and `END` after the last key.
    Value {
        /// Print the cas unique.
        with_cas: bool,
        /// This is the last key of the list: `END` follows.
        last: bool,
    },
}

impl From<TextStyle> for Style<'_> {
    #[inline]
    fn from(style: TextStyle) -> Self {
        Style::Text(style)
    }
}

/// Meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaStyle<'b> {
    /// The command.
    pub command: MetaCommand,
    /// The key as it stood in the request (in base64, if it came so).
    pub key: &'b [u8],
    /// Flag `b`: the key came in base64.
    pub binary_key: bool,
    /// The request's flags, as they came.
    pub flags: &'b [u8],
    /// Flag `q`: keep quiet about the common outcome.
    pub quiet: bool,
    /// Flag `v`: send the value.
    pub value: bool,
    /// With `value`: leave it out if the item still has this cas unique (flag `C` of mg).
    pub unless_cas: Option<u64>,
    /// Bytes of data that came with ms.
    pub data_len: usize,
}

impl<'b> MetaStyle<'b> {
    /// The style of a command without flags.
    pub fn new(command: MetaCommand) -> Self {
        Self {
            command,
            key: &[],
            binary_key: false,
            flags: &[],
            quiet: false,
            value: false,
            unless_cas: None,
            data_len: 0,
        }
    }
}

impl<'b> From<MetaStyle<'b>> for Style<'b> {
    #[inline]
    fn from(style: MetaStyle<'b>) -> Self {
        Style::Meta(style)
    }
}

/// A command of meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaCommand {
    /// `mg`
    Fetch,
    /// `ms`
    Store,
    /// `md`
    Delete,
    /// `ma`
    Count,
    /// `mn`
    Noop,
    /// `me`
    Inspect,
}

/// Binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BinaryStyle<'b> {
    /// The request's opcode, echoed.
    pub opcode: u8,
    /// The request's opaque, echoed.
    pub opaque: u32,
    /// Quiet form: keep quiet about the common outcome.
    pub quiet: bool,
    /// The key, if it is to be sent with the answer, hit or miss.
    pub key: Option<&'b [u8]>,
    /// Touch rather than get: flags, but no value.
    pub without_value: bool,
}
