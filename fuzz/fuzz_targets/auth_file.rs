//! Files of users: whatever stands in them, reading ends, and a name lets in with its password
//! only.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use mcache::proven::Proven;
use mcache::users::Users;
use mcache_session::{Credentials, Verdict};

fuzz_target!(|text: &[u8]| {
    // Its parameters may ask for hours: whoever writes the file is trusted.
    if text.windows(7).any(|window| window == b"$argon2") {
        return;
    }
    let path = std::env::temp_dir().join(format!("mcache-fuzz-users-{}", std::process::id()));
    fs::write(&path, text).expect("there is room for a file");
    let Ok(users) = Users::read(&path) else { return };
    let proven = Proven::new().expect("random bytes");
    let lines = text.split(|&byte| byte == b'\n').map(|it| it.strip_suffix(b"\r").unwrap_or(it));
    for line in lines.filter(|line| !line.is_empty()).take(8) {
        let colon = line.iter().position(|&byte| byte == b':').expect("a line that was taken");
        let (user, password) = (&line[..colon], &line[colon + 1..]);
        let says = |password: &[u8]| Credentials {
            user: user.to_vec().into(),
            password: password.to_vec().into(),
        };
        assert!(matches!(users.judge(&says(password), &proven), Some(Verdict::Admitted(_))));
        let longer = says(&[password, b"\n"].concat());
        assert!(matches!(users.judge(&longer, &proven), Some(Verdict::Refused)));
    }
});
