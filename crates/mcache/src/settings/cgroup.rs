//! How much memory the cgroup that this process is in may have: version 2 and version 1.

use std::fs;
use std::path::Path;

/// From here on a limit is none: version 1 writes a number near 2^63 for that.
const UNLIMITED: u64 = 1 << 60;

/// The least limit, in bytes, of the process's cgroup and those around it. `root` is where the
/// file system begins.
pub fn memory_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| limit_of(root, line)).min()
}

/// The least limit on the way from a line's cgroup up to the root of its hierarchy.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (hierarchy, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let top = root.join(hierarchy);
    let own = top.join(path.trim_start_matches('/'));
    // Inside a container the path may be the host's: then the top is what there is.
    let around = own.ancestors().take_while(|group| group.starts_with(&top));
    let limits = around.filter_map(|group| fs::read_to_string(group.join(file)).ok());
    limits.filter_map(|text| text.trim().parse().ok()).filter(|&limit| limit < UNLIMITED).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_around_the_process_counts() {
        const GIB: &str = "1073741824";
        const NONE: &str = "9223372036854771712";
        // /proc/self/cgroup, files under sys/fs/cgroup with their text, and the limit
        for (number, (groups, files, limit)) in [
            ("0::/a/b\n", vec![("memory.max", "max"), ("a/memory.max", GIB)], Some(1 << 30)),
            ("0::/a/b\n", vec![("a/memory.max", GIB), ("a/b/memory.max", "4096\n")], Some(4096)),
            ("0::/a\n", vec![("a/memory.max", "max")], None),
            ("0::/of/the/host\n", vec![("memory.max", "4096")], Some(4096)),
            ("4:memory:/a\n", vec![("memory/a/memory.limit_in_bytes", GIB)], Some(1 << 30)),
            ("4:memory:/a\n", vec![("memory/memory.limit_in_bytes", NONE)], None),
            ("3:cpu,memory:/\n", vec![("memory/memory.limit_in_bytes", "8192")], Some(8192)),
            ("3:cpu:/a\n", vec![("cpu/a/memory.limit_in_bytes", "8192")], None),
            ("nonsense", vec![("memory.max", "4096")], None),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("mcache-cgroup-{}-{number}", std::process::id());
            let root = std::env::temp_dir().join(name);
            let write = |path: std::path::PathBuf, text: &str| {
                fs::create_dir_all(path.parent().expect("below the root")).unwrap();
                fs::write(path, text).unwrap();
            };
            write(root.join("proc/self/cgroup"), groups);
            files
                .iter()
                .for_each(|(path, text)| write(root.join("sys/fs/cgroup").join(path), text));
            let found = memory_limit(&root);
            fs::remove_dir_all(&root).unwrap();
            assert_eq!(found, limit, "{groups:?} {files:?}");
        }
        assert_eq!(memory_limit(Path::new("/nowhere")), None);
    }
}
