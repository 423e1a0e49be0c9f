//! The page `docs/tables.md`, written from the columns.

use std::fmt::Write;

use super::{Partitioning, Table};

/// The text of `docs/tables.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# Tables\n\n\
         Written from `lake/src/table/` by `UPDATE_EXPECT=1 cargo test -p flowaudit-lake page`; change it there.\n\n\
         Every table is a folder of Parquet files (zstd). Open it with `read_parquet('LAKE/flows/**/*.parquet',\n\
         hive_partitioning = true)`. Instants are UTC with microseconds; counters are signed 64-bit integers;\n\
         addresses are canonical text. A column without a null meaning is never null.\n",
    );
    for table in Table::ALL {
        let partition = match table.partitioning() {
            Partitioning::None => "not partitioned".to_string(),
            Partitioning::Date => "one folder per day, `date=2026-11-24`".to_string(),
            Partitioning::Hour => format!(
                "one folder per hour of `{}`, `date=2026-11-24/hour=08`",
                table.time_column()
            ),
        };
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {table}\n\n{}\n\nPartition: {partition}.\n\n\
             | column | type | unit | null means | |\n| --- | --- | --- | --- | --- |\n",
            table.doc().trim()
        );
        for column in table.columns() {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} |",
                column.name,
                column.ty.sql(),
                column.unit,
                column.null.unwrap_or("never"),
                column.doc.trim()
            );
        }
    }
    page
}
