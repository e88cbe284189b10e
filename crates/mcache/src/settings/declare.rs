//! How the table of settings is written down: what a row makes.

/// The word, if there is one.
pub(super) const fn at_most_one(words: &'static [&'static str]) -> Option<&'static str> {
    match words {
        [word, ..] => Some(*word),
        [] => None,
    }
}

/// Makes the table, the struct of its values and their defaults of its rows.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $field:ident: $type:ty = $mcache:expr, $memcached:expr => $show:expr;
        $( [ $($word:literal)+ ] $($takes:literal)? => $read:expr; )*
        $( stat $stat:literal; )?
        $( no effect $why:expr; )?
    )+) => {
        /// What the user said, over the defaults.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            /// Whose defaults these are.
            pub habits: Habits,
            /// The settings that the user said something about.
            pub given: Vec<Given>,
            /// Where the memory's size is from.
            pub memory_from: MemoryFrom,
            /// Users with rights, which only the file can name.
            pub users: Vec<UserOptions>,
            $( $(#[doc = $about])+ pub $field: $type, )+
        }

        impl Settings {
            /// The settings of a user who says nothing.
            pub fn defaults(habits: Habits) -> Self {
                Self {
                    habits,
                    given: Vec::new(),
                    memory_from: MemoryFrom::Here,
                    users: Vec::new(),
                    $( $field: match habits {
                        Habits::Mcache => $mcache,
                        Habits::Memcached => $memcached,
                    }, )+
                }
            }
        }

        /// Every row.
        pub const SETTINGS: &[Setting] = &[ $( Setting {
            name: stringify!($field),
            about: concat!($($about),+),
            spellings: &[ $( Spelling {
                words: &[ $($word),+ ],
                takes: at_most_one(&[ $($takes)? ]),
                set: |settings, text| {
                    let read: fn(&mut $type, &str) -> read::Reading = $read;
                    read(&mut settings.$field, text)
                },
            }, )* ],
            stat: at_most_one(&[ $($stat)? ]),
            no_effect: at_most_one(&[ $($why)? ]),
            show: |settings| {
                let show: fn(&$type) -> String = $show;
                show(&settings.$field)
            },
        }, )+ ];
    };
}

pub(super) use settings;
