//! What a row says.

use serde::Serialize;

use crate::floor::Mode;
use crate::generator::Measured;
use crate::rows::{Row, Target, Work};
use crate::stats::{Spread, difference};

/// By how much the two floors of a group may differ.
const NOISE_MAX: f64 = 0.1;
/// From here on the generator may be what is measured.
const GENERATOR_BUSY_MAX: f64 = 0.95;

/// What one window gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Messages acknowledged or delivered.
    pub messages: u64,
    /// The same in a second.
    pub messages_per_second: f64,
    /// Processor time of the server for each message, in microseconds.
    pub cpu_us: f64,
    /// Latency of a request, in microseconds.
    pub p50_us: f64,
    /// The same for 99 of 100 requests.
    pub p99_us: f64,
    /// The server's resident memory at the end, in bytes.
    pub rss_bytes: u64,
    /// Bytes that the server made the system write for each message.
    pub written_bytes: f64,
    /// Context switches of the server's threads for each message.
    pub switches: f64,
    /// The part of the time that the generator's thread worked.
    pub generator_busy: f64,
}

impl Figures {
    /// Of a window.
    pub fn of(measured: &Measured) -> Self {
        let [begin, end] = measured.server;
        let (messages, seconds) = (measured.messages as f64, measured.elapsed.as_secs_f64());
        let each = |sum: u64| sum as f64 / messages;
        let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        Figures {
            messages: measured.messages,
            messages_per_second: messages / seconds,
            cpu_us: end.cpu.saturating_sub(begin.cpu).as_secs_f64() * 1e6 / messages,
            p50_us: us(measured.latency.percentile(0.5)),
            p99_us: us(measured.latency.percentile(0.99)),
            rss_bytes: end.rss_bytes,
            written_bytes: each(end.written_bytes.saturating_sub(begin.written_bytes)),
            // A thread that ended took its count along.
            switches: each(end.switches.saturating_sub(begin.switches)),
            generator_busy: measured.generator_cpu.as_secs_f64() / seconds,
        }
    }
}

/// A window of the broker between two of the floor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Group {
    /// The floor before.
    pub before: Figures,
    /// The broker.
    pub ours: Figures,
    /// The floor after.
    pub after: Figures,
}

impl Group {
    /// Whether the floors agree, so that the broker's figure can be held against them.
    pub fn is_calm(&self) -> bool {
        difference(self.before.cpu_us, self.after.cpu_us) <= NOISE_MAX
    }

    /// The broker's figure as a multiple of the mean of the floors'.
    fn ratio(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        figure(&self.ours) * 2.0 / (figure(&self.before) + figure(&self.after))
    }
}

/// How a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every target holds.
    Met,
    /// One does not.
    Missed,
    /// There is none.
    NoTarget,
    /// No group was calm enough to say.
    Noisy,
}

impl Verdict {
    /// As text.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "missed",
            Verdict::NoTarget => "-",
            Verdict::Noisy => "noisy",
        }
    }
}

/// A row's result.
#[derive(Debug, Clone, Serialize)]
pub struct RowReport {
    /// The row's name.
    pub row: &'static str,
    /// What was done.
    pub about: &'static str,
    /// What an acknowledgement meant: `async` or `sync`; of a pull, how its messages had been sent.
    pub durability: &'static str,
    /// What the floor did.
    pub floor: &'static str,
    /// Whether messages were sent or pulled.
    pub work: &'static str,
    /// The broker, medians over all groups.
    pub ours: Medians,
    /// The floor, medians over all groups.
    pub floor_figures: Medians,
    /// Processor time per message, as a multiple of the floor's; of calm groups, or of all if none was.
    pub cpu_ratio: Option<Spread>,
    /// Messages per second, as a part of the floor's.
    pub rate_ratio: Option<Spread>,
    /// Median latency, as a multiple of the floor's.
    pub p50_ratio: Option<Spread>,
    /// What was aimed at: processor time at most, rate at least, median latency at most.
    pub targets: [Option<f64>; 3],
    /// How many groups were calm.
    pub calm_groups: usize,
    /// Whether the targets are met.
    pub verdict: Verdict,
    /// The generator's thread was (nearly) always busy in a window of the broker: the rate is its, not the broker's.
    pub generator_bound: bool,
    /// Server and generator had to share a core.
    pub one_core: bool,
    /// Messages of the broker that were read back and compared.
    pub verified: u64,
    /// Every window.
    pub groups: Vec<Group>,
}

/// Medians of a server's windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Medians {
    /// Messages in a second.
    pub messages_per_second: Option<Spread>,
    /// Microseconds of processor time for a message.
    pub cpu_us: Option<Spread>,
    /// Microseconds.
    pub p50_us: Option<Spread>,
    /// Microseconds.
    pub p99_us: Option<Spread>,
    /// Bytes at the end of the last window.
    pub rss_bytes: u64,
    /// Bytes for a message.
    pub written_bytes: Option<Spread>,
    /// Context switches for a message.
    pub switches: Option<Spread>,
}

impl Medians {
    fn of(windows: &[Figures]) -> Self {
        let spread = |figure: fn(&Figures) -> f64| Spread::of(windows.iter().map(figure));
        Medians {
            messages_per_second: spread(|window| window.messages_per_second),
            cpu_us: spread(|window| window.cpu_us),
            p50_us: spread(|window| window.p50_us),
            p99_us: spread(|window| window.p99_us),
            rss_bytes: windows.last().map_or(0, |window| window.rss_bytes),
            written_bytes: spread(|window| window.written_bytes),
            switches: spread(|window| window.switches),
        }
    }
}

impl RowReport {
    /// Of a row's groups.
    pub fn new(row: &Row, mode: Mode, groups: Vec<Group>, verified: u64) -> Self {
        let ours: Vec<Figures> = groups.iter().map(|group| group.ours).collect();
        let floors: Vec<Figures> = groups.iter().flat_map(|group| [group.before, group.after]).collect();
        let calm: Vec<&Group> = groups.iter().filter(|group| group.is_calm()).collect();
        let calm_groups = calm.len();
        let counted = if calm.is_empty() { groups.iter().collect() } else { calm };
        let ratio = |figure: fn(&Figures) -> f64| Spread::of(counted.iter().map(|group| group.ratio(figure)));
        let cpu_ratio = ratio(|window| window.cpu_us);
        let rate_ratio = ratio(|window| window.messages_per_second);
        let p50_ratio = ratio(|window| window.p50_us);
        let medians = [cpu_ratio, rate_ratio, p50_ratio].map(|spread| spread.map(|spread| spread.median));
        RowReport {
            row: row.name,
            about: row.about,
            durability: row.durability.name(),
            floor: mode.name(),
            work: match row.work {
                Work::Send(_) => "send",
                Work::Pull => "pull",
                Work::Produce { .. } => "produce",
                Work::Fetch => "fetch",
            },
            ours: Medians::of(&ours),
            floor_figures: Medians::of(&floors),
            cpu_ratio,
            rate_ratio,
            p50_ratio,
            targets: [row.target.cpu_max, row.target.rate_min, row.target.p50_max],
            calm_groups,
            verdict: verdict(&row.target, medians, calm_groups),
            generator_bound: ours.iter().any(|window| window.generator_busy >= GENERATOR_BUSY_MAX),
            one_core: false,
            verified,
            groups,
        }
    }
}

fn verdict(target: &Target, [cpu, rate, p50]: [Option<f64>; 3], calm_groups: usize) -> Verdict {
    if *target == Target::default() {
        return Verdict::NoTarget;
    }
    if calm_groups == 0 {
        return Verdict::Noisy;
    }
    let at_most = |max: Option<f64>, is: Option<f64>| max.is_none_or(|max| is.is_some_and(|is| is <= max));
    let at_least = |min: Option<f64>, is: Option<f64>| min.is_none_or(|min| is.is_some_and(|is| is >= min));
    if at_most(target.cpu_max, cpu) && at_least(target.rate_min, rate) && at_most(target.p50_max, p50) {
        Verdict::Met
    } else {
        Verdict::Missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    fn window(cpu_us: f64, messages_per_second: f64) -> Figures {
        Figures {
            messages: 1,
            messages_per_second,
            cpu_us,
            p50_us: 1.0,
            p99_us: 1.0,
            rss_bytes: 0,
            written_bytes: 0.0,
            switches: 0.0,
            generator_busy: 0.5,
        }
    }

    fn group(before: f64, ours: f64, after: f64) -> Group {
        Group { before: window(before, 10.0), ours: window(ours, 5.0), after: window(after, 10.0) }
    }

    #[test]
    fn a_noisy_group_does_not_count() {
        let groups = vec![group(1.0, 1.2, 1.0), group(1.0, 9.0, 1.2), group(2.0, 3.2, 2.0)];
        let report = RowReport::new(&ROWS[0], Mode::Write, groups, 7);
        let cpu = report.cpu_ratio.unwrap();
        assert_eq!(report.calm_groups, 2);
        assert!((cpu.median - 1.4).abs() < 1e-9 && (cpu.max - 1.6).abs() < 1e-9, "{cpu:?}");
        assert_eq!(report.verdict, Verdict::Met);
        assert_eq!(report.rate_ratio.unwrap().median, 0.5);
        assert_eq!(report.ours.cpu_us.unwrap().max, 9.0, "figures are of all windows");
    }

    #[test]
    fn without_a_calm_group_there_is_no_verdict() {
        let report = RowReport::new(&ROWS[0], Mode::Write, vec![group(1.0, 1.0, 1.2)], 7);
        assert_eq!((report.verdict, report.calm_groups), (Verdict::Noisy, 0));
        assert!(report.cpu_ratio.is_some());
    }

    #[test]
    fn targets_hold_at_the_bound_and_not_past_it() {
        let target = Target { cpu_max: Some(1.5), rate_min: Some(0.8), p50_max: None };
        for (cpu, rate, expected) in
            [(1.5, 0.8, Verdict::Met), (1.51, 0.8, Verdict::Missed), (1.5, 0.79, Verdict::Missed)]
        {
            assert_eq!(verdict(&target, [Some(cpu), Some(rate), None], 1), expected);
        }
        assert_eq!(verdict(&target, [None, Some(1.0), None], 1), Verdict::Missed);
        assert_eq!(verdict(&Target::default(), [None; 3], 0), Verdict::NoTarget);
    }
}
