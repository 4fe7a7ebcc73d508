//! The whole of the configuration: precedence, origins, contradictions, and the document that lists the keys.

use std::fs;

use super::value::Setting;
use super::*;

fn load(file: Option<(&str, &str)>, sets: &[&str]) -> Result<Loaded, Vec<String>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = file.map(|(name, content)| {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("the file is written");
        path
    });
    let sources = Sources { file, sets: sets.iter().map(|set| (*set).to_owned()).collect(), data: None };
    let strip = format!("{}/", dir.path().display());
    Loaded::read(&sources)
        .map_err(|problems| problems.iter().map(|p| p.to_string().replace(&strip, "")).collect())
}

#[test]
fn the_last_source_wins_and_is_remembered() {
    let toml = "[store]\nflush = \"async\"\n[log]\nlevel = \"warn\"\n";
    let loaded = load(Some(("b.toml", toml)), &["log.level=debug", "log.level=error"]).expect("valid");
    assert_eq!(loaded.config.store.flush, braid_store::FlushMode::Async);
    assert_eq!(loaded.config.log.level.show(), "error");
    assert!(matches!(loaded.origin("store.flush"), Origin::File(place) if place.line == 2));
    assert_eq!(*loaded.origin("log.level"), Origin::Set);
    assert_eq!(*loaded.origin("listen.rocketmq"), Origin::Default);

    let sources =
        Sources { data: Some("/d".into()), sets: vec!["store.dir=/e".into()], ..Sources::default() };
    let loaded = Loaded::read(&sources).expect("valid");
    assert_eq!(loaded.config.store.dir.show(), "/d");
    assert_eq!(loaded.origin("store.dir").to_string(), "--data");
}

#[test]
fn values_with_blanks_and_equals_signs_reach_their_key() {
    let loaded = load(None, &["rocketmq.message_delay_level=1s 5s 10s"]).expect("valid");
    let table = &loaded.config.rocketmq.message_delay_level.table;
    assert_eq!((table.levels(), table.milliseconds(3)), (3, 10_000));
}

#[test]
fn wrong_sets_are_explained() {
    let cases = [
        ("store.flush", "--set store.flush: there is no `=`\n  = help: write --set section.key=value"),
        (
            "stroe.flush=sync",
            "--set stroe.flush=sync: unknown key `stroe.flush`\n  = help: did you mean `store.flush`?",
        ),
        ("flush=sync", "--set flush=sync: unknown key `flush`\n  = help: did you mean `store.flush`?"),
        ("store.flush=fast", "--set store.flush=fast: `store.flush` must be sync or async, not `fast`"),
        (
            "listen.rocketmq=10911",
            "--set listen.rocketmq=10911: `listen.rocketmq` must be an IP address and a port, such as 127.0.0.1:9876 or [::1]:9876, \
             not `10911`",
        ),
    ];
    for (set, expected) in cases {
        assert_eq!(load(None, &[set]).expect_err(set), [expected]);
    }
}

#[test]
fn listeners_that_others_reach_need_a_word() {
    for (set, is_open) in [
        ("listen.rocketmq=0.0.0.0:10911", true),
        ("listen.nameserver=[::]:9876", true),
        ("listen.rocketmq=127.0.0.2:10911", false),
        ("listen.nameserver=[::1]:9876", false),
    ] {
        assert_eq!(load(None, &[set]).is_err(), is_open, "{set}");
        assert!(load(None, &[set, "allow_anonymous=true"]).is_ok(), "{set}");
    }
    // In a file the line is shown.
    let toml = "[listen]\nrocketmq = \"0.0.0.0:10911\"\n";
    let problems = load(Some(("b.toml", toml)), &[]).expect_err("refused");
    assert!(problems[0].contains("b.toml:2:12"), "{}", problems[0]);
    // A broker.conf has no way to say it, and does not need to: it never leaves loopback.
    let loaded = load(Some(("broker.conf", "listenPort=10911\nbindAddress=0.0.0.0\n")), &[]).expect("valid");
    assert!(loaded.config.listen.rocketmq.ip().is_loopback());
}

#[test]
fn contradictions_are_refused() {
    let cases: [(&[&str], &str); 6] = [
        (&["listen.rocketmq=127.0.0.1:2"], "fast listener"),
        (&["listen.rocketmq=127.0.0.1:9878"], "fast listener"),
        (&["listen.rocketmq=127.0.0.1:9876"], "port 9876 of listen.rocketmq"),
        (&["retention.disk_clean_percent=90"], "must not fall"),
        (&["store.file_bytes=1 MiB", "rocketmq.max_message_bytes=1 MiB"], "does not fit"),
        (&["listen.nameserver=0.0.0.0:10909", "allow_anonymous=true"], "fast listener"),
    ];
    for (sets, expected) in cases {
        let problems = load(None, sets).expect_err(expected);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{sets:?}: {problems:?}");
    }
    for sets in [
        &["listen.rocketmq=127.0.0.1:2", "listen.rocketmq_fast=off"][..],
        &["listen.rocketmq=127.0.0.2:9876"],
        &["listen.rocketmq=127.0.0.1:0", "listen.nameserver=127.0.0.1:0"],
        // The default of 4 MiB does not stop somebody who wants small files.
        &["store.file_bytes=1 MiB"],
    ] {
        assert!(load(None, sets).is_ok(), "{sets:?}");
    }
}

#[test]
fn files_that_are_missing_or_huge_are_named() {
    let sources = Sources { file: Some("/no/such/file.toml".into()), ..Sources::default() };
    let problems = Loaded::read(&sources).expect_err("missing");
    assert!(problems[0].message.starts_with("the configuration file /no/such/file.toml can't be read"));
    let at_bound = "#".repeat(CONFIG_BYTES_MAX as usize);
    assert!(load(Some(("b.toml", &at_bound)), &[]).is_ok());
    let problems = load(Some(("b.toml", &(at_bound + "#"))), &[]).expect_err("too long");
    assert!(problems[0].contains("more than the 1048576"), "{}", problems[0]);
}

/// The table of keys in `docs/configuration.md` is what the code says.
#[test]
fn the_document_lists_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let document = fs::read_to_string(path).expect("docs/configuration.md");
    let expected = markdown();
    let (start, end) = ("<!-- keys: begin -->\n", "<!-- keys: end -->");
    let from = document.find(start).expect("the table's beginning") + start.len();
    let to = document.find(end).expect("the table's end");
    assert!(
        document[from..to] == expected,
        "docs/configuration.md is not what the code says; between its two marks belongs:\n{expected}"
    );
}

/// The keys as the document shows them.
fn markdown() -> String {
    let mut out = String::new();
    let sections = std::iter::once(("", "")).chain(SECTIONS.iter().copied());
    for (section, about) in sections {
        if !section.is_empty() {
            out += &format!("\n### [{section}]\n\n{about}\n");
        }
        out += "\n| key | type | default | |\n| --- | --- | --- | --- |\n";
        for key in KEYS.iter().filter(|key| key.section() == section) {
            let default =
                if key.default.is_empty() { "empty".to_owned() } else { format!("`{}`", key.default) };
            let cell = |text: &str| text.replace('|', "\\|");
            out += &format!("| `{}` | {} | {default} | {} |\n", key.name, cell(key.kind), cell(key.doc));
        }
    }
    out += "\n";
    out
}

/// Files that somebody damaged are explained or read, and never end in a panic.
#[test]
fn damaged_files_are_explained() {
    const TOML: &str = "allow_anonymous = true\n[listen]\nrocketmq = \"127.0.0.1:1\u{e9}\"\n[store]\nfile_bytes = 0x10_0000\nflush=\"async\"\n";
    const CONF: &str = "brokerName = a\\u00e9\\\n  b\n# \u{1f980}\nlistenPort:10911\r\naclEnable true\nmessageDelayLevel=1s 2h\n";
    const PIECES: [&str; 12] = ["\n", "=", "\"", "[", "]", "\\", "\u{e9}", "\u{1f980}", " ", ".", "#", "0"];
    let mut rng = braid_io::Rng::new(7);
    for round in 0..20_000 {
        let (name, sample) = if round % 2 == 0 { ("b.toml", TOML) } else { ("broker.conf", CONF) };
        let mut chars: Vec<char> = sample.chars().collect();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(chars.len() as u64 + 1) as usize;
            match rng.below(3) {
                0 if at < chars.len() => drop(chars.remove(at)),
                1 => chars.truncate(at),
                _ => {
                    let piece = PIECES[rng.below(PIECES.len() as u64) as usize];
                    chars.splice(at..at, piece.chars());
                }
            }
        }
        let content: String = chars.into_iter().collect();
        let mut loaded = Loaded {
            config: Config::default(),
            origins: vec![Origin::Default; KEYS.len()],
            warnings: Vec::new(),
        };
        let mut problems = Vec::new();
        loaded.add_file(name, &content, &mut problems);
        for problem in problems {
            let place = problem.place.as_ref().expect("what is wrong in a file has a place");
            assert!(place.line <= content.lines().count().max(1) + 1, "{content:?}: {problem}");
            assert!(problem.to_string().contains(" --> "), "{problem}");
        }
    }
}
