//! Turns `schema/*.kschema` into `messages.rs`: a module per file with the structs, their readers and their writers.

mod emit;
mod schema;

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    let directory = fs::read_dir("schema").expect("the crate has its schema files");
    let mut files: Vec<_> = directory.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "kschema"));
    files.sort();

    let mut code = String::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a readable schema");
        let module = path.file_stem().expect("a file has a name").to_string_lossy();
        emit::module(&module, &schema::parse(&text), &mut code);
    }
    let target = env::var_os("OUT_DIR").expect("cargo names the folder");
    fs::write(Path::new(&target).join("messages.rs"), code).expect("a writable target folder");
}
