//! The files that a process which is shut in still reaches: landlock.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

/// The newest landlock that this was tried with. An older kernel enforces what it knows.
const LANDLOCK: ABI = ABI::V6;

/// What a process which is shut in still reads, and what it still removes. Files that are open
/// already need not be named.
///
/// A file is replaced by renaming another into its place, and a link may lead to it; so what is
/// given is the directory that its name stands in and the one that it is really in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    read: BTreeSet<PathBuf>,
    remove: BTreeSet<PathBuf>,
}

impl Files {
    /// These are read again, and these removed at the end. Paths are absolute.
    pub fn new<'p>(
        read: impl IntoIterator<Item = &'p Path>,
        remove: impl IntoIterator<Item = &'p Path>,
    ) -> Self {
        Self {
            read: read.into_iter().flat_map(around).collect(),
            remove: remove.into_iter().filter_map(Path::parent).map(Path::to_owned).collect(),
        }
    }

    /// Forbids every other file, and connections: for the calling thread and what it starts.
    /// Tells how much of that the kernel enforces.
    pub(super) fn confine(&self) -> io::Result<&'static str> {
        self.rules()
            .and_then(RulesetCreated::restrict_self)
            .map(|status| match status.ruleset {
                RulesetStatus::FullyEnforced => "full",
                RulesetStatus::PartiallyEnforced => "partial",
                RulesetStatus::NotEnforced => "none",
            })
            .map_err(|error| io::Error::other(format!("landlock: {error}")))
    }

    fn rules(&self) -> Result<RulesetCreated, landlock::RulesetError> {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?;
        for (paths, access) in
            [(&self.read, AccessFs::ReadFile), (&self.remove, AccessFs::RemoveFile)]
        {
            for path in paths {
                rules = match PathFd::new(path) {
                    Ok(it) => rules.add_rule(PathBeneath::new(it, access))?,
                    Err(error) => {
                        tracing::warn!("nothing in {} will be reached: {error}", path.display());
                        rules
                    }
                };
            }
        }
        Ok(rules)
    }
}

/// Where a file is to be read from again: its directories, or itself if that would be the whole
/// file system.
fn around(file: &Path) -> impl Iterator<Item = PathBuf> {
    let real = file.canonicalize().ok();
    [Some(file.to_owned()), real].into_iter().flatten().map(|file| match file.parent() {
        Some(directory) if directory != Path::new("/") => directory.to_owned(),
        _ => file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_reached_by_their_directories() {
        let directory = std::env::temp_dir().join(format!("mcache-files-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("real")).unwrap();
        std::fs::write(directory.join("real/key"), "").unwrap();
        std::os::unix::fs::symlink("real/key", directory.join("link")).unwrap();
        let directory = directory.canonicalize().unwrap();
        let rows: [(PathBuf, Vec<PathBuf>); 4] = [
            (directory.join("real/key"), vec![directory.join("real")]),
            (directory.join("link"), vec![directory.clone(), directory.join("real")]),
            (directory.join("nothing"), vec![directory.clone()]),
            ("/nothing".into(), vec!["/nothing".into()]),
        ];
        for (file, expected) in rows {
            let files = Files::new([file.as_path()], []);
            assert_eq!(files.read.into_iter().collect::<Vec<_>>(), expected, "{file:?}");
        }
        let files = Files::new([], [Path::new("/run/mcache/pid"), Path::new("/run/mcache/s")]);
        assert_eq!(files.remove, BTreeSet::from(["/run/mcache".into()]));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
