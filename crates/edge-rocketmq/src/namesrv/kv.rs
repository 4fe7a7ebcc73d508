//! What administrators put under keys (100, 101, 102, 219): namespaces of texts, kept in a file that is replaced whole.
//!
//! The file is JSON as Apache's name server writes its own: `{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"b1:8;b2:8"}}}`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use braid_io::Disk;
use braid_io::disk::{self, OpenMode};
use braid_wire_rocketmq::body::{Body, KvTable};
use braid_wire_rocketmq::codes::response;
use braid_wire_rocketmq::header::{self, KvValue};

use crate::dispatch::Call;
use crate::reply::{Outcome, Reply};

/// The namespace of ordered topics: topic → `broker:queues;…`.
pub(crate) const ORDER_TOPICS: &str = "ORDER_TOPIC_CONFIG";
/// The most entries over all namespaces.
const ENTRIES_MAX: usize = 100_000;
/// The most bytes of one namespace, key or value.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of all namespaces, keys and values together, a key's namespace counted for each of its keys.
const BYTES_MAX: usize = 16 << 20;
/// The file, below the data directory.
const FILE: &str = "braid/nameserver.json";

type Table = BTreeMap<String, BTreeMap<String, String>>;

/// The file's content.
#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Content {
    config_table: Table,
}

/// See the module. Readers never wait for the disk.
pub(crate) struct KvStore {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    table: RwLock<Arc<Table>>,
    /// Held by the one who writes the file.
    writing: Mutex<()>,
}

impl KvStore {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// A sentence, when it can not be read.
    pub(crate) fn open(disk: Arc<dyn Disk>, data_dir: &std::path::Path) -> Result<Self, String> {
        let path = data_dir.join(FILE);
        let table = match read(&*disk, &path) {
            Ok(bytes) => {
                let content: Content = serde_json::from_slice(&bytes)
                    .map_err(|error| format!("{} is not readable: {error}", path.display()))?;
                content.config_table
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Table::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(Self { disk, path, table: RwLock::new(Arc::new(table)), writing: Mutex::default() })
    }

    /// All entries as they are now.
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// One value.
    pub(crate) fn value(&self, namespace: &str, key: &str) -> Option<String> {
        self.table().get(namespace)?.get(key).cloned()
    }

    /// One namespace.
    pub(crate) fn namespace(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.table().get(namespace).cloned()
    }

    /// Changes the table and makes it durable; waits for the disk.
    ///
    /// # Errors
    /// A sentence, when the table would be too large or the file can not be written. The table is unchanged then.
    fn change(&self, change: impl FnOnce(&mut Table)) -> Result<(), String> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.table();
        let mut content = Content { config_table: Table::clone(&before) };
        change(&mut content.config_table);
        check_size(&content.config_table, &before)?;
        self.write(&content).map_err(|error| format!("the change could not be kept: {error}"))?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(content.config_table);
        Ok(())
    }

    fn write(&self, content: &Content) -> io::Result<()> {
        let bytes = serde_json::to_vec(content).map_err(io::Error::other)?;
        if let Some(dir) = self.path.parent() {
            self.disk.create_dir_all(dir)?;
        }
        disk::replace_file(&*self.disk, &self.path, &bytes)
    }
}

/// How many entries there are, and their bytes.
fn size(table: &Table) -> (usize, usize) {
    let entries = table.iter().flat_map(|(namespace, keys)| keys.iter().map(move |entry| (namespace, entry)));
    entries.fold((0, 0), |(count, bytes), (namespace, (key, value))| {
        (count + 1, bytes + namespace.len() + key.len() + value.len())
    })
}

/// A table may be too large when it was so before and does not grow.
fn check_size(table: &Table, before: &Table) -> Result<(), String> {
    let ((count, bytes), (count_before, bytes_before)) = (size(table), size(before));
    if count > ENTRIES_MAX && count > count_before {
        Err(format!("there are {ENTRIES_MAX} entries already"))
    } else if bytes > BYTES_MAX && bytes > bytes_before {
        Err(format!("all entries together would have more than {BYTES_MAX} bytes"))
    } else {
        Ok(())
    }
}

fn read(disk: &dyn Disk, path: &std::path::Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn changed(call: &Call<'_>, change: impl FnOnce(&mut Table) + Send + 'static) -> Outcome {
    let shared = Arc::clone(&call.reactor.shared);
    let written = call.reactor.ask_disk(move || shared.nameserver.kv.change(change));
    Outcome::wait(async move {
        match written.await? {
            Ok(()) => Ok(Reply::ok().into()),
            Err(sentence) => Err(Reply::system_error(sentence)),
        }
    })
}

/// PUT_KV_CONFIG (100).
pub(crate) fn put(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::PutKvConfig::from_ext_fields(&call.command.ext_fields)?;
    let texts = [&header.namespace, &header.key, &header.value];
    if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX)
        || header.namespace.is_empty()
        || header.key.is_empty()
    {
        return Err(Reply::system_error(format!(
            "namespace and key must not be empty, and no text may be longer than {TEXT_BYTES_MAX} bytes"
        )));
    }
    Ok(changed(call, move |table| {
        table.entry(header.namespace).or_default().insert(header.key, header.value);
    }))
}

/// DELETE_KV_CONFIG (102).
pub(crate) fn delete(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::KvKey::from_ext_fields(&call.command.ext_fields)?;
    Ok(changed(call, move |table| {
        if let Some(namespace) = table.get_mut(&header.namespace) {
            namespace.remove(&header.key);
            if namespace.is_empty() {
                table.remove(&header.namespace);
            }
        }
    }))
}

/// GET_KV_CONFIG (101).
pub(crate) fn get(call: &Call<'_>) -> Result<Outcome, Reply> {
    let header = header::KvKey::from_ext_fields(&call.command.ext_fields)?;
    match call.shared().nameserver.kv.value(&header.namespace, &header.key) {
        Some(value) => Ok(Reply::fields(KvValue { value: Some(value) }.to_ext_fields()).into()),
        None => Err(Reply::error(
            response::QUERY_NOT_FOUND,
            format!("No config item, Namespace: {} Key: {}", header.namespace, header.key),
        )),
    }
}

/// GET_KVLIST_BY_NAMESPACE (219).
pub(crate) fn list(call: &Call<'_>) -> Result<Outcome, Reply> {
    let namespace = header::KvNamespace::from_ext_fields(&call.command.ext_fields)?.namespace;
    match call.shared().nameserver.kv.namespace(&namespace) {
        Some(table) => Ok(Reply::body(KvTable { table }.encode()).into()),
        None => {
            Err(Reply::error(response::QUERY_NOT_FOUND, format!("No config item, Namespace: {namespace}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use braid_io::OsDisk;

    use super::*;

    #[test]
    fn entries_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || KvStore::open(Arc::new(OsDisk), dir.path()).unwrap();
        let kv = open();
        kv.change(|table| {
            table.entry(ORDER_TOPICS.into()).or_default().insert("T".into(), "b:8".into());
        })
        .unwrap();
        assert_eq!(open().value(ORDER_TOPICS, "T").as_deref(), Some("b:8"));
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(text, r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"b:8"}}}"#);
        std::fs::write(dir.path().join(FILE), "no json").unwrap();
        assert!(
            KvStore::open(Arc::new(OsDisk), dir.path()).is_err_and(|text| text.contains("nameserver.json"))
        );
    }
}
