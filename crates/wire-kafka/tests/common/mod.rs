//! Bodies made from the schema by an interpreter of it, which shares no line with the generated code.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(elided_lifetimes_in_paths, reason = "some messages borrow and some don't")]

#[path = "../../build/schema.rs"]
mod schema;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use braid_wire_kafka::messages::{self, Message};
use schema::{Field, Kind};

/// A check of any message.
pub(crate) trait Check {
    fn check<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, version: i16, bytes: &'a [u8]);
}

macro_rules! modules {
    ($($module:ident),+ $(,)?) => {
        /// The modules that `dispatch` knows.
        pub(crate) const MODULES: &[&str] = &[$(stringify!($module)),+];

        /// Calls a check with the type of a module's half.
        pub(crate) fn dispatch(module: &str, half: &str, version: i16, bytes: &[u8], check: &mut impl Check) {
            match (module, half) {
                $(
                    (stringify!($module), "Request") => check.check::<messages::$module::Request>(version, bytes),
                    (stringify!($module), "Response") => check.check::<messages::$module::Response>(version, bytes),
                )+
                other => panic!("no such message: {other:?}"),
            }
        }
    };
}

modules!(
    alter_configs,
    api_versions,
    create_partitions,
    create_topics,
    delete_groups,
    delete_records,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_groups,
    describe_log_dirs,
    describe_producers,
    describe_topic_partitions,
    fetch,
    find_coordinator,
    heartbeat,
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_groups,
    list_offsets,
    list_partition_reassignments,
    metadata,
    offset_commit,
    offset_delete,
    offset_fetch,
    offset_for_leader_epoch,
    produce,
    sync_group,
);

/// SplitMix64: small, and the same everywhere.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One body: the schema's module, "Request" or "Response", a version, and the bytes.
pub(crate) struct Body {
    pub(crate) module: String,
    pub(crate) half: String,
    pub(crate) version: i16,
    pub(crate) bytes: Vec<u8>,
    /// The same with tagged fields that no version knows, in every struct of a flexible version.
    pub(crate) with_unknown_tags: Vec<u8>,
}

/// The modules of requests, as the schema files say.
pub(crate) fn modules() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let files = fs::read_dir(folder).expect("the schema's folder").map(|entry| entry.expect("a file").path());
    let mut found: Vec<_> =
        files.map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    found.retain(|module| module != "consumer_protocol");
    found.sort();
    found
}

/// `each` random bodies of every half and version of a module.
pub(crate) fn bodies(module: &str, each: usize, random: &mut Random) -> Vec<Body> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(module).with_extension("kschema");
    let schema = schema::parse(&fs::read_to_string(&file).expect("a schema"));
    let mut found = Vec::new();
    for half in &schema.halves {
        for version in half.versions.0..=half.versions.1 {
            for _ in 0..each {
                let mut writer = Writer {
                    version,
                    flexible: half.flexible.is_some_and(|first| version >= first),
                    random: random.clone(),
                    unknown_tags: true,
                };
                let (mut with_unknown_tags, mut bytes) = (Vec::new(), Vec::new());
                writer.structure(&half.fields, false, &mut with_unknown_tags);
                writer = Writer { random: random.clone(), unknown_tags: false, ..writer };
                writer.structure(&half.fields, false, &mut bytes);
                *random = writer.random;
                let (module, half) = (module.to_owned(), half.name.clone());
                found.push(Body { module, half, version, bytes, with_unknown_tags });
            }
        }
    }
    found
}

struct Writer {
    version: i16,
    flexible: bool,
    random: Random,
    unknown_tags: bool,
}

impl Writer {
    /// `given`: nothing in it may be its default, because it stands behind a tag.
    fn structure(&mut self, fields: &[Field], given: bool, out: &mut Vec<u8>) {
        let mut tagged = Vec::new();
        let version = self.version;
        for field in fields.iter().filter(|field| field.in_version(version)) {
            match field.tag {
                None => self.field(field, given, out),
                Some(tag) if self.random.below(2) == 0 => {
                    let mut value = Vec::new();
                    self.field(field, true, &mut value);
                    tagged.push((tag, value));
                }
                Some(_) => {}
            }
        }
        if !self.flexible {
            return;
        }
        if self.unknown_tags {
            tagged.push((77, b"from the future".to_vec()));
            tagged.push((300, Vec::new()));
        }
        self.varint(tagged.len(), out);
        for (tag, value) in tagged {
            self.varint(tag as usize, out);
            self.varint(value.len(), out);
            out.extend(value);
        }
    }

    fn field(&mut self, field: &Field, given: bool, out: &mut Vec<u8>) {
        let null = field.null_in_version(self.version) && !given && self.random.below(4) == 0;
        let nullable_struct =
            field.null_in_version(self.version) && !field.array && matches!(field.kind, Kind::Struct { .. });
        match (null, field.array) {
            (true, false) if nullable_struct => out.push(0xff),
            (true, false) if matches!(field.kind, Kind::String) => self.text_length(None, out),
            (true, _) => self.length(None, out),
            (false, true) => {
                let count = self.random.below(4) + usize::from(given);
                self.length(Some(count), out);
                (0..count).for_each(|_| self.value(&field.kind, false, out));
            }
            (false, false) => {
                if nullable_struct {
                    out.push(1);
                }
                self.value(&field.kind, given, out);
            }
        }
    }

    fn value(&mut self, kind: &Kind, given: bool, out: &mut Vec<u8>) {
        let number = match self.random.below(3) {
            0 if !given => [0, 1, -1, i64::MIN, i64::MAX][self.random.below(5)],
            _ => self.random.next() as i64 | 2,
        };
        match kind {
            Kind::Bool => out.push(u8::from(given || number & 1 == 1)),
            Kind::I8 => out.push(number as u8),
            Kind::I16 => out.extend((number as i16).to_be_bytes()),
            Kind::I32 => out.extend((number as i32).to_be_bytes()),
            Kind::I64 => out.extend(number.to_be_bytes()),
            Kind::Uuid => out.extend(std::array::from_fn::<u8, 16, _>(|at| (number >> (at * 4)) as u8 | 1)),
            Kind::String => {
                let text = self.text(given);
                self.text_length(Some(text.len()), out);
                out.extend(text.as_bytes());
            }
            Kind::Bytes => {
                let bytes = self.text(given).into_bytes();
                self.length(Some(bytes.len()), out);
                out.extend(bytes.iter().rev());
            }
            Kind::Struct { fields, .. } => self.structure(fields, given, out),
        }
    }

    fn text(&mut self, given: bool) -> String {
        let length = match self.random.below(12) {
            0 => 200,
            length => length - usize::from(!given),
        };
        (0..length).map(|_| ['a', '.', '7', 'ß', '漢', '𝄞'][self.random.below(6)]).collect()
    }

    fn text_length(&self, length: Option<usize>, out: &mut Vec<u8>) {
        match self.flexible {
            true => self.length(length, out),
            false => out.extend(length.map_or(-1, |length| length as i16).to_be_bytes()),
        }
    }

    fn length(&self, length: Option<usize>, out: &mut Vec<u8>) {
        match self.flexible {
            true => self.varint(length.map_or(0, |length| length + 1), out),
            false => out.extend(length.map_or(-1, |length| length as i32).to_be_bytes()),
        }
    }

    fn varint(&self, mut value: usize, out: &mut Vec<u8>) {
        loop {
            let more = value > 0x7f;
            out.push((value & 0x7f) as u8 | u8::from(more) << 7);
            if !more {
                return;
            }
            value >>= 7;
        }
    }
}

/// Bytes from hexadecimal text.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Hexadecimal text from bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
