//! THE TABLE OF WHAT IS MISSING: options of memcached that are refused.

/// What memcached has and mcache does not have yet: an error rather than a silence.
#[derive(Debug)]
pub struct NotYet {
    /// The option's spellings.
    pub words: &'static [&'static str],
    /// Whether a value follows.
    pub takes_value: bool,
}

macro_rules! not_yet {
    ($( $($word:literal)+ $(= $value:ident)?; )+) => {
        /// Every option of memcached that is refused as not supported yet.
        pub const NOT_YET: &[NotYet] = &[ $( NotYet {
            words: &[ $($word),+ ],
            takes_value: !<[&str]>::is_empty(&[ $(stringify!($value))? ]),
        }, )+ ];
    };
}

not_yet! {
    "-o sock_cookie_id" = NUMBER;
    "-o proxy_config" = FILE;
    "-o proxy_arg" = TEXT;
    "-o proxy_uring";
    "-o proxy_memprofile";
    "-o ext_path" = FILE;
    "-o ext_page_size" = MEGABYTES;
    "-o ext_wbuf_size" = MEGABYTES;
    "-o ext_threads" = NUMBER;
    "-o ext_io_depth" = NUMBER;
    "-o ext_item_size" = BYTES;
    "-o ext_item_age" = SECONDS;
    "-o ext_low_ttl" = SECONDS;
    "-o ext_recache_rate" = NUMBER;
    "-o ext_compact_under" = NUMBER;
    "-o ext_drop_under" = NUMBER;
    "-o ext_max_sleep" = MICROSECONDS;
    "-o ext_max_frag" = RATIO;
    "-o ext_drop_unread";
}
