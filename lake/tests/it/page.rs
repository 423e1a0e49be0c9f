//! `docs/tables.md` is what the columns say.

use std::path::Path;

use flowaudit_lake::Table;
use flowaudit_lake::table::page;

#[test]
fn the_page_of_tables_is_fresh() {
    let path = Path::new("../docs/tables.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, page()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == page(),
        "docs/tables.md is old: UPDATE_EXPECT=1 cargo test -p flowaudit-lake page writes it anew"
    );
}

#[test]
fn every_column_is_explained() {
    for table in Table::ALL {
        for column in table.columns() {
            let name = format!("{table}.{}", column.name);
            // DuckDB shows the partition's value instead of the column's, others refuse to read.
            assert!(
                !["date", "hour"].contains(&column.name),
                "{name} is hidden by the partition"
            );
            assert!(
                column.doc.trim().ends_with('.'),
                "{name} is explained in a sentence"
            );
            assert!(
                !column.doc.contains('|'),
                "{name} keeps the table of the page whole"
            );
            assert!(
                column.null.is_none_or(|null| !null.is_empty()),
                "{name} says what null means"
            );
        }
    }
}

#[test]
fn every_table_has_its_time_column() {
    for table in Table::ALL {
        let column = table
            .columns()
            .iter()
            .find(|column| column.name == table.time_column());
        let column = column.unwrap_or_else(|| panic!("{table} has no {}", table.time_column()));
        assert_eq!(column.null, None, "{table}.{}", column.name);
        assert_eq!(column.ty, flowaudit_lake::column::ColumnType::Time);
    }
}
