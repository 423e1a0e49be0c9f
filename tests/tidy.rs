//! House rules that no lint knows. Quick, no network; each failure says which rule and where.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate of the workspace may import of ours; `ARCHITECTURE.md` has the same table for people.
const ARROWS: [(&str, &[&str]); 7] = [
    ("flowaudit-rules", &[]),
    ("flowaudit-lake", &[]),
    ("flowaudit-ingest", &["flowaudit-lake", "flowaudit-rules"]),
    ("flowaudit-analyze", &["flowaudit-lake", "flowaudit-rules"]),
    ("flowaudit-sample-logs", &[]),
    (
        "flowaudit-fuzz",
        &["flowaudit-ingest", "flowaudit-lake", "flowaudit-rules"],
    ),
    (
        "flowaudit",
        &[
            "flowaudit-analyze",
            "flowaudit-ingest",
            "flowaudit-lake",
            "flowaudit-rules",
            "flowaudit-sample-logs",
        ],
    ),
];

/// Engines that only leaves may build; a name forbids everything that begins with it.
const HEAVY: [&str; 4] = ["polars", "datafusion", "ballista", "pyo3"];

/// What opens, waits or asks the time, and Arrow: nothing for `rules`.
const NOT_IN_RULES: [&str; 14] = [
    "arrow",
    "parquet",
    "tokio",
    "async",
    "futures",
    "reqwest",
    "hyper",
    "axum",
    "object_store",
    "rayon",
    "tempfile",
    "tracing",
    "rand",
    "memmap",
];

/// Lines in a file before it is a question. What is longer is listed here with its answer.
const LINES_MAX: usize = 600;
const LONGER: [(&str, &str); 0] = [];

/// Words that promise work instead of doing it, or silence a lint without a reason. Put together here so that this file
/// does not find itself.
fn forbidden_words() -> Vec<String> {
    [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("to", "do!("),
        ("db", "g!("),
        ("#[ig", "nore"),
        ("#[al", "low("),
        ("#![al", "low("),
    ]
    .iter()
    .map(|(head, tail)| format!("{head}{tail}"))
    .collect()
}

/// Hosts of package registries: where packages come from is settled by whoever builds, not here.
fn registry_hosts() -> Vec<String> {
    [
        ("crates", "io"),
        ("pypi", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("debian", "org"),
        ("pythonhosted", "org"),
    ]
    .iter()
    .map(|(name, end)| format!("{name}.{end}"))
    .collect()
}

/// The folder of the package is where its tests run.
fn root() -> &'static Path {
    Path::new(".")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the house by its path from the root: what git tracks or would, else (in an archive) what is there.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .current_dir(root())
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output();
    let mut files: Vec<String> = match listed {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout)
            .expect("paths are UTF-8")
            .split_terminator('\0')
            .filter(|path| root().join(path).is_file())
            .map(str::to_owned)
            .collect(),
        _ => walk(root(), Path::new("")),
    };
    files.sort();
    assert!(
        files.iter().any(|path| path == "Cargo.toml"),
        "the files of the house were not found"
    );
    files
}

fn walk(root: &Path, below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join(below)).expect("a folder of the house") {
        let entry = entry.expect("an entry");
        let path = below.join(entry.file_name());
        let name = entry.file_name();
        if entry.path().is_dir() {
            if name != "target" && name != ".git" {
                found.extend(walk(root, &path));
            }
        } else {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}

fn rust_files() -> Vec<String> {
    files()
        .into_iter()
        .filter(|path| path.ends_with(".rs"))
        .collect()
}

/// The text of a file, or `None` where it is no text.
fn text(path: &str) -> Option<String> {
    String::from_utf8(
        std::fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}")),
    )
    .ok()
}

#[track_caller]
fn check_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

/// Package name → (folder, names under `[dependencies]`, names under all dependency tables).
fn manifests() -> BTreeMap<String, (String, BTreeSet<String>, BTreeSet<String>)> {
    let mut manifests = BTreeMap::new();
    for path in files().iter().filter(|path| {
        Path::new(path)
            .file_name()
            .is_some_and(|name| name == "Cargo.toml")
    }) {
        let manifest: toml::Table = read(path)
            .parse()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let name = manifest["package"]["name"]
            .as_str()
            .expect("a package has a name")
            .to_owned();
        let names = |table: &str| -> BTreeSet<String> {
            let table = manifest.get(table).and_then(toml::Value::as_table);
            table
                .into_iter()
                .flat_map(|table| table.keys().cloned())
                .collect()
        };
        let used = names("dependencies");
        let all = [&names("dev-dependencies"), &names("build-dependencies")]
            .into_iter()
            .fold(used.clone(), |all, more| &all | more);
        let folder = Path::new(path)
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default();
        manifests.insert(name, (folder.to_string_lossy().into_owned(), used, all));
    }
    manifests
}

#[test]
fn crates_import_what_the_table_says() {
    let manifests = manifests();
    let found: BTreeMap<&str, BTreeSet<&str>> = manifests
        .iter()
        .map(|(name, (_, used, _))| {
            let ours = used
                .iter()
                .map(String::as_str)
                .filter(|name| name.starts_with("flowaudit"));
            (name.as_str(), ours.collect())
        })
        .collect();
    let said: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(name, imports)| (*name, imports.iter().copied().collect()))
        .collect();
    assert_eq!(
        found, said,
        "an arrow between crates is its own commit: change the table here and in ARCHITECTURE.md with it"
    );
}

#[test]
fn the_architecture_page_has_the_same_arrows() {
    let page = read("ARCHITECTURE.md");
    let manifests = manifests();
    for (name, imports) in ARROWS {
        let folder = &manifests[name].0;
        let folder = if folder.is_empty() {
            "/".to_owned()
        } else {
            format!("{folder}/")
        };
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{folder}` |")))
            .unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for `{folder}`"));
        let said = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let said: BTreeSet<String> = said
            .split('`')
            .skip(1)
            .step_by(2)
            .map(|name| format!("flowaudit-{name}"))
            .collect();
        let imports: BTreeSet<String> = imports.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(said, imports, "the row for `{folder}` in ARCHITECTURE.md");
    }
}

#[test]
fn the_light_crates_stay_light() {
    let manifests = manifests();
    let mut offences = Vec::new();
    for name in [
        "flowaudit-rules",
        "flowaudit-lake",
        "flowaudit-ingest",
        "flowaudit-analyze",
    ] {
        for dependency in &manifests[name].2 {
            if HEAVY.iter().any(|heavy| dependency.starts_with(heavy)) {
                offences.push(format!("{name} builds {dependency}"));
            }
        }
    }
    for dependency in &manifests["flowaudit-rules"].1 {
        if NOT_IN_RULES.iter().any(|word| dependency.starts_with(word)) {
            offences.push(format!("flowaudit-rules uses {dependency}"));
        }
    }
    check_none(
        "rules, lake, ingest and analyze build quickly, and rules neither opens nor waits",
        &offences,
    );
}

#[test]
fn one_place_says_versions_and_lints() {
    let mut offences = Vec::new();
    for (name, (folder, _, all)) in manifests() {
        if name == "flowaudit" {
            continue;
        }
        let path = format!("{folder}/Cargo.toml");
        let manifest: toml::Table = read(&path).parse().expect("it was read before");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(table).and_then(toml::Value::as_table) else {
                continue;
            };
            for dependency in table.keys().filter(|name| all.contains(*name)) {
                if table[dependency].get("workspace").is_none() {
                    offences.push(format!("{path}: {dependency}"));
                }
            }
        }
        // The fuzz targets cannot have the table of the workspace; their manifest says why.
        if name != "flowaudit-fuzz" && manifest["lints"].get("workspace").is_none() {
            offences.push(format!("{path}: [lints]"));
        }
    }
    check_none(
        "versions and lints are said in the root Cargo.toml",
        &offences,
    );
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| !read(path).starts_with("//! "))
        .collect();
    check_none("every .rs file begins with `//!`", &silent);
}

#[test]
fn files_fit_a_reader() {
    let mut offences = Vec::new();
    for path in rust_files() {
        let lines = read(&path).lines().count();
        let answered = LONGER.iter().any(|(longer, _)| *longer == path);
        if lines > LINES_MAX && !answered {
            offences.push(format!("{path}: {lines} lines"));
        }
        if lines <= LINES_MAX && answered {
            offences.push(format!(
                "{path} is short again: take it off the list in tests/tidy.rs"
            ));
        }
    }
    check_none(
        &format!("a file has at most {LINES_MAX} lines, or an answer why not"),
        &offences,
    );
}

#[test]
fn nothing_is_promised_or_silenced() {
    let words = forbidden_words();
    let mut offences = Vec::new();
    for path in files() {
        let code = path.ends_with(".rs");
        if !code && !path.ends_with(".md") && !path.ends_with(".py") && !path.ends_with(".toml") {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            // The first two are words anywhere; the others are Rust.
            let words = if code { words.as_slice() } else { &words[..2] };
            offences.extend(
                words
                    .iter()
                    .filter(|word| line.contains(word.as_str()))
                    .map(|word| format!("{path}:{}: {word}", number + 1)),
            );
        }
    }
    check_none(
        "do it, open an issue, or give `#[expect]` its reason",
        &offences,
    );
}

#[test]
fn no_host_of_a_registry_is_named() {
    let hosts = registry_hosts();
    let mut offences = Vec::new();
    for path in files() {
        // Cargo writes the index it resolved from into its lock file, always under the same name.
        if path == "Cargo.lock" {
            continue;
        }
        let Some(text) = text(&path) else { continue };
        offences.extend(
            hosts
                .iter()
                .filter(|host| text.contains(host.as_str()))
                .map(|host| format!("{path}: {host}")),
        );
    }
    check_none("packages are named, registries are not", &offences);
}

#[test]
fn every_format_has_its_museum_piece() {
    let layouts = [
        ("commit", "lake/src/commit.rs"),
        ("snapshot", "lake/src/state.rs"),
    ];
    for (format, source) in layouts {
        let source_text = read(source);
        let version = source_text
            .lines()
            .find_map(|line| {
                line.trim_start_matches("pub ")
                    .strip_prefix("const VERSION: u64 = ")
            })
            .and_then(|rest| rest.trim_end_matches(';').parse::<u64>().ok())
            .unwrap_or_else(|| panic!("{source} says no VERSION"));
        for version in 1..=version {
            for end in ["json", "means.txt"] {
                let piece = format!("lake/tests/formats/{format}/v{version}.{end}");
                assert!(
                    root().join(&piece).is_file(),
                    "version {version} of the {format} format was written once, and {piece} is missing"
                );
            }
        }
    }
}

#[test]
fn pages_exist_and_their_links_lead_somewhere() {
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
        "docs/policy-lint.md",
        "docs/tables.md",
    ] {
        assert!(root().join(page).is_file(), "{page} is missing");
    }
    let mut offences = Vec::new();
    for path in files().iter().filter(|path| path.ends_with(".md")) {
        let folder = root()
            .join(path)
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default();
        let text = read(path);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty()
                && !file.contains("://")
                && !file.starts_with("mailto:")
                && !folder.join(file).exists()
            {
                offences.push(format!("{path}: {target}"));
            }
        }
    }
    check_none("links inside the house lead somewhere", &offences);
}

#[test]
fn folders_that_pages_name_exist() {
    let mut offences = Vec::new();
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(page);
        // What is reserved does not exist yet and says so under this heading.
        let text = text
            .split("\n## Rooms kept free")
            .next()
            .unwrap_or_default();
        for word in text.split('`').skip(1).step_by(2) {
            let path = word.trim_end_matches('/');
            let is_path = path.ends_with(".rs")
                && path.contains('/')
                && !path.contains(['*', '<', '{', ' ', '$']);
            if is_path && !root().join(path).is_file() {
                offences.push(format!("{page}: {word}"));
            }
        }
    }
    check_none("files that a page names are there", &offences);
}

#[test]
fn every_detection_has_its_four_headings() {
    const HEADINGS: [&str; 4] = [
        "What it finds",
        "Why it matters",
        "When it is wrong",
        "What to do",
    ];
    let mut described = 0;
    for path in rust_files()
        .iter()
        .filter(|path| path.starts_with("analyze/src/finding/"))
    {
        let text = read(path);
        let headings: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("//! ## "))
            .collect();
        if !headings.is_empty() {
            described += 1;
            assert_eq!(headings, HEADINGS, "{path}");
        }
    }
    assert!(described > 0, "no file describes a detection");
}
