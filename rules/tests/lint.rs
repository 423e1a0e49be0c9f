//! `docs/policy-lint.md` is what the lints say of themselves.

#![expect(clippy::disallowed_methods, reason = "a test reads the page")]

use std::path::Path;

use flowaudit_rules::lint::page;

#[test]
fn the_page_of_lints_is_fresh() {
    let path = Path::new("../docs/policy-lint.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == page(),
        "docs/policy-lint.md is old: UPDATE_EXPECT=1 cargo test -p flowaudit-rules --test lint writes it anew"
    );
}
