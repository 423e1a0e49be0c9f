//! Lists the files of the sample set, so that `demo` carries them and works from any folder.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const SET: &str = "sample-logs/sets/small";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={SET}");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut list = String::from("&[\n");
    for folder in ["flows", "inventory"] {
        let dir = Path::new(SET).join(folder);
        let mut names: Vec<_> = fs::read_dir(root.join(&dir))?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let name = Path::new(folder).join(name);
            let path = Path::new("/").join(SET).join(&name);
            // Relative to whichever checkout is compiled: several may share what this script wrote.
            let _ = writeln!(
                list,
                r#"({name:?}, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), {path:?}))),"#
            );
        }
    }
    list += "]\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("sample_set.rs"), list)
}
