//! Counts of passed, failed and skipped tests, and how to find them in what test runners print.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// How many tests came to which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// One check, such as formatting, that has passed or not.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), skipped: 0 }
    }

    /// The sum over the `test result:` lines of `cargo test`; ignored tests count as skipped. `None` without such a line.
    pub(crate) fn of_cargo_test(output: &str) -> Option<Self> {
        let lines: Vec<_> = output.lines().filter(|line| line.starts_with("test result:")).collect();
        (!lines.is_empty()).then(|| {
            let count = |word| lines.iter().filter_map(|line| number_before(line, word)).sum();
            Self { passed: count(" passed"), failed: count(" failed"), skipped: count(" ignored") }
        })
    }

    /// From the line with which Maven's Surefire closes: `Tests run: 31, Failures: 1, Errors: 0, Skipped: 0`. The lines
    /// of single classes, which also give a time, are left out.
    pub(crate) fn of_surefire(output: &str) -> Option<Self> {
        let line =
            output.lines().rfind(|line| line.contains("Tests run:") && !line.contains("Time elapsed"))?;
        let count = |word| number_after(line, word);
        let failed = count("Failures: ")? + count("Errors: ")?;
        let skipped = count("Skipped: ")?;
        Some(Self { passed: count("Tests run: ")?.checked_sub(failed + skipped)?, failed, skipped })
    }

    /// From pytest's closing line, `1 failed, 23 passed, 4 skipped in 99.80s`; an error in a fixture has failed.
    pub(crate) fn of_pytest(output: &str) -> Option<Self> {
        let line = output.lines().rev().find_map(pytest_sums)?;
        let count = |word| number_before(line, word).unwrap_or(0);
        Some(Self {
            passed: count(" passed"),
            failed: count(" failed") + count(" error"),
            skipped: count(" skipped"),
        })
    }

    /// The lines `--- PASS: Name`, `--- FAIL: Name` and `--- SKIP: Name` of `go test -v`, without those that only sum up
    /// their subtests. `None` without such a line.
    pub(crate) fn of_go_test(output: &str) -> Option<Self> {
        let ends: Vec<_> = output.lines().filter_map(go_test_end).collect();
        let has_parts = |name: &str| {
            ends.iter().any(|(_, other)| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')))
        };
        let leaves: Vec<_> = ends.iter().filter(|(_, name)| !has_parts(name)).collect();
        (!leaves.is_empty()).then(|| {
            let count = |end| leaves.iter().filter(|(found, _)| *found == end).count() as u64;
            Self { passed: count("PASS"), failed: count("FAIL"), skipped: count("SKIP") }
        })
    }

    /// From the sums with which Node's own runner closes: `# pass 21`, `# fail 1` and so on, in TAP.
    pub(crate) fn of_node_test(output: &str) -> Option<Self> {
        let count = |word: &str| {
            output.lines().rev().find_map(|line| line.strip_prefix(word)?.trim().parse::<u64>().ok())
        };
        Some(Self {
            passed: count("# pass ")?,
            failed: count("# fail ")? + count("# cancelled ")?,
            skipped: count("# skipped ")?,
        })
    }

    /// From the last line of our own rigs: `N passed, N failed`, maybe with `, N skipped`.
    pub(crate) fn of_rig(output: &str) -> Option<Self> {
        let line = output.lines().rfind(|line| !line.trim().is_empty())?;
        Some(Self {
            passed: number_before(line, " passed")?,
            failed: number_before(line, " failed")?,
            skipped: number_before(line, " skipped").unwrap_or(0),
        })
    }
}

/// `1 failed, 23 passed` of pytest's closing line; clients write lines of their own behind it, with numbers in them.
fn pytest_sums(line: &str) -> Option<&str> {
    let (sums, seconds) = line.trim_matches(['=', ' ']).rsplit_once(" in ")?;
    let is_sum = |sum: &str| {
        sum.split_once(' ').is_some_and(|(number, word)| number.parse::<u64>().is_ok() && !word.contains(' '))
    };
    let counts = [" passed", " failed", " error"].iter().any(|word| sums.contains(word));
    (counts && seconds.starts_with(|c: char| c.is_ascii_digit()) && sums.split(", ").all(is_sum))
        .then_some(sums)
}

/// How a test of `go test -v` ended, and its name.
fn go_test_end(line: &str) -> Option<(&str, &str)> {
    let (end, rest) = line.trim_start().strip_prefix("--- ")?.split_once(": ")?;
    ["PASS", "FAIL", "SKIP"].contains(&end).then_some((end, rest.split(' ').next()?))
}

fn number_before(line: &str, word: &str) -> Option<u64> {
    let before = &line[..line.find(word)?];
    let digits = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |last| last + 1);
    before[digits..].parse().ok()
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    let after = &line[line.find(word)? + word.len()..];
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..end].parse().ok()
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn cargo_test_is_summed_over_its_binaries() {
        let output = "\
running 2 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 10 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out; finished in 1.00s
";
        assert_eq!(Counts::of_cargo_test(output), counts(12, 1, 3));
        assert_eq!(Counts::of_cargo_test("error: could not compile"), None);
    }

    #[test]
    fn surefire_closes_with_all_classes() {
        let output = "\
[INFO] Tests run: 4, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 39.42 s -- in SubscriptionTest
[INFO] Results:
[WARNING] Tests run: 31, Failures: 1, Errors: 2, Skipped: 3
[INFO] BUILD FAILURE
";
        assert_eq!(Counts::of_surefire(output), counts(25, 3, 3));
        assert_eq!(Counts::of_surefire("[ERROR] COMPILATION ERROR"), None);
    }

    #[test]
    fn pytest_closes_with_one_line() {
        let of = Counts::of_pytest;
        assert_eq!(
            of("..F\n2 failed, 23 passed, 4 skipped, 218 warnings in 321.05s (0:05:21)\n"),
            counts(23, 2, 4)
        );
        assert_eq!(of("25 passed in 15.49s"), counts(25, 0, 0));
        assert_eq!(of("3 passed, 1 error in 0.10s"), counts(3, 1, 0));
        assert_eq!(of("no tests ran in 0.01s"), None);
        let noise = "%3|1795.432|FAIL|rdkafka#producer-45| 127.0.0.1:42513 failed: refused (after 0ms in state CONNECT)";
        assert_eq!(of(&format!("== 77 passed in 66.35s (0:01:06) ==\n{noise}\n")), counts(77, 0, 0));
    }

    #[test]
    fn go_test_counts_leaves() {
        let output = "\
=== RUN   TestCopy
--- FAIL: TestCopy (0.00s)
    --- PASS: TestCopy/range (0.66s)
    --- FAIL: TestCopy/sticky (0.67s)
--- PASS: TestCopyOnce (0.07s)
--- SKIP: TestOther (0.00s)
FAIL
";
        assert_eq!(Counts::of_go_test(output), counts(2, 1, 1));
        assert_eq!(Counts::of_go_test("# build failed"), None);
    }

    #[test]
    fn node_closes_with_sums() {
        let output = "# tests 22\n# suites 0\n# pass 19\n# fail 1\n# cancelled 1\n# skipped 1\n# todo 0\n";
        assert_eq!(Counts::of_node_test(output), counts(19, 2, 1));
        assert_eq!(Counts::of_node_test("SyntaxError"), None);
    }

    #[test]
    fn a_rig_closes_with_its_counts() {
        assert_eq!(Counts::of_rig("seed 7\n20 passed, 0 failed\n"), counts(20, 0, 0));
        assert_eq!(Counts::of_rig("crash: 3 passed, 1 failed, 2 skipped"), counts(3, 1, 2));
        assert_eq!(Counts::of_rig("20 passed, 0 failed\nthen it went on"), None);
        assert_eq!(Counts::of_rig(""), None);
    }
}
