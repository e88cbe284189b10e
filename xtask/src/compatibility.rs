//! The tables of docs/compatibility.md: what is expected of each suite, and whether it came true.
//!
//! A table is known by the heading of its first column, a row by that column's cell. Results stand
//! in the columns of versions: `pass`, `skip`, `fail`, or `-` for what is not run. The tables only
//! grow: a result that got worse is an error, one that got better is written down with `--write`.

use std::fs;
use std::path::PathBuf;

use crate::shell;

/// How a suite went, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Something in it failed, or it did not end.
    Fail,
    /// It found that the server has not what it tests.
    Skip,
    /// All of it passed.
    Pass,
}

/// What a suite said.
#[derive(Debug)]
pub struct Outcome {
    /// The row it belongs to.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// How many cases, or what failed.
    pub detail: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A table of the page.
#[derive(Debug)]
pub struct Table {
    page: Vec<String>,
    /// Where in the page the table's heading is.
    heading: usize,
}

impl Verdict {
    const WORDS: &[(&str, Self)] =
        &[("pass", Self::Pass), ("skip", Self::Skip), ("fail", Self::Fail)];

    fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, verdict)| *verdict)
    }

    /// As the table has it.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, verdict)| *verdict == self).map_or("", |(word, _)| word)
    }
}

impl Table {
    /// Reads the table whose first column is headed `first`.
    pub fn read(first: &str) -> Result<Self, String> {
        let text = fs::read_to_string(path()).map_err(|error| format!("{PAGE}: {error}"))?;
        Self::find(&text, first).ok_or(format!("{PAGE}: no table of `{first}`"))
    }

    fn find(text: &str, first: &str) -> Option<Self> {
        let page: Vec<String> = text.lines().map(str::to_owned).collect();
        let heading = page.iter().position(|line| cells(line).first() == Some(&first))?;
        Some(Self { page, heading })
    }

    /// The column headed `wanted`; the first of all results if there is none.
    pub fn column(&self, wanted: &str) -> Result<usize, String> {
        let headings = self.page.get(self.heading).map(|line| cells(line)).unwrap_or_default();
        let is_version = |heading: &&str| heading.starts_with(|c: char| c.is_ascii_digit());
        let found = headings.iter().position(|heading| *heading == wanted);
        found
            .or_else(|| headings.iter().position(is_version))
            .ok_or(format!("{PAGE}: no column for {wanted}"))
    }

    /// Every row's name and what its column expects; `None` is what is not run.
    pub fn expected(&self, column: usize) -> impl Iterator<Item = (&str, Option<Verdict>)> {
        self.rows().map(move |(_, cells)| {
            let name = cells.first().copied().unwrap_or_default();
            (name, cells.get(column).and_then(|cell| Verdict::of(cell)))
        })
    }

    /// Whether a row's result is to be this.
    pub fn expects(&self, column: usize, name: &str, verdict: Verdict) -> bool {
        self.expectation(column, name) == Some(verdict)
    }

    /// Compares and tells; writes down what got better if `write`. An error if anything got worse.
    pub fn judge(
        &mut self,
        column: usize,
        outcomes: &[Outcome],
        write: bool,
    ) -> Result<(), String> {
        let (mut worse, mut better) = (Vec::new(), 0);
        for outcome in outcomes {
            let expected = self.expectation(column, &outcome.name);
            let remark = match expected {
                Some(expected) if outcome.verdict < expected => {
                    worse.push(outcome.name.as_str());
                    "  WORSE than expected"
                }
                Some(expected) if outcome.verdict > expected => "  better than expected",
                None => "  not in the table",
                Some(_) => "",
            };
            better += usize::from(remark.contains("better"));
            let Outcome { name, verdict, detail, seconds } = outcome;
            println!("{name:24} {:4} {seconds:6.1} s  {detail}{remark}", verdict.word());
        }
        if write {
            self.write(column, outcomes)?;
        } else if better > 0 {
            println!("{better} better than {PAGE} says: run again with --write");
        }
        if worse.is_empty() { Ok(()) } else { Err(format!("worse: {}", worse.join(", "))) }
    }

    fn expectation(&self, column: usize, name: &str) -> Option<Verdict> {
        self.expected(column).find(|(row, _)| *row == name).and_then(|(_, verdict)| verdict)
    }

    /// Rows only get better.
    fn write(&mut self, column: usize, outcomes: &[Outcome]) -> Result<(), String> {
        for outcome in outcomes {
            self.improve(column, outcome);
        }
        fs::write(path(), self.page.join("\n") + "\n").map_err(|error| format!("{PAGE}: {error}"))
    }

    fn improve(&mut self, column: usize, outcome: &Outcome) {
        let row = self.rows().find(|(_, cells)| cells.first() == Some(&outcome.name.as_str()));
        let Some((line, mut cells)) = row else { return };
        let Some(cell) = cells.get_mut(column) else { return };
        if Verdict::of(cell).is_none_or(|there| outcome.verdict > there) {
            *cell = outcome.verdict.word();
            let row = format!("| {} |", cells.join(" | "));
            if let Some(there) = self.page.get_mut(line) {
                *there = row;
            }
        }
    }

    /// The rows' lines and cells.
    fn rows(&self) -> impl Iterator<Item = (usize, Vec<&str>)> {
        let lines = self.page.iter().enumerate().skip(self.heading + 2);
        lines.map(|(line, text)| (line, cells(text))).take_while(|(_, cells)| !cells.is_empty())
    }
}

const PAGE: &str = "docs/compatibility.md";

fn path() -> PathBuf {
    shell::root().join(PAGE)
}

/// The cells of a table's line; none if it is no such line.
fn cells(line: &str) -> Vec<&str> {
    let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
        return Vec::new();
    };
    inner.split('|').map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Page\n\n| file | class | 1.2 | 1.1 | why |\n|---|---|---|---|---|\n\
                        | a.t | P | pass | fail | |\n| b.t | Y | - | skip | no router |\n\nend";

    fn outcome(name: &str, verdict: Verdict) -> Outcome {
        Outcome { name: name.to_owned(), verdict, detail: String::new(), seconds: 0.0 }
    }

    #[test]
    fn a_table_is_found_by_its_heading_and_read_by_version() {
        let table = Table::find(TEXT, "file").unwrap();
        assert_eq!(table.column("1.1"), Ok(3));
        assert_eq!(table.column("1.3"), Ok(2), "the first version if there is no such column");
        let rows: Vec<_> = table.expected(2).collect();
        assert_eq!(rows, [("a.t", Some(Verdict::Pass)), ("b.t", None)]);
        assert!(Table::find(TEXT, "suite").is_none());
    }

    #[test]
    fn what_got_worse_is_an_error_and_what_got_better_is_none() {
        use Verdict::{Fail, Pass, Skip};
        let rows = [
            ("a.t", 2, Pass, true),
            ("a.t", 2, Skip, false),
            ("a.t", 2, Fail, false),
            ("a.t", 3, Pass, true),
            ("b.t", 3, Fail, false),
            ("b.t", 2, Fail, true),
            ("c.t", 2, Fail, true),
        ];
        for (name, column, verdict, expected) in rows {
            let mut table = Table::find(TEXT, "file").unwrap();
            let judged = table.judge(column, &[outcome(name, verdict)], false);
            assert_eq!(judged.is_ok(), expected, "{name} {column} {verdict:?}");
        }
    }

    #[test]
    fn a_row_only_gets_better() {
        let mut table = Table::find(TEXT, "file").unwrap();
        for verdict in [Verdict::Skip, Verdict::Pass, Verdict::Fail] {
            table.improve(3, &outcome("b.t", verdict));
        }
        assert_eq!(table.page[5], "| b.t | Y | - | pass | no router |");
        assert_eq!(table.page.len(), TEXT.lines().count());
    }
}
