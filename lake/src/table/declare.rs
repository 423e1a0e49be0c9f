//! `table!`: turns the columns of a table, said once, into everything that follows from them.
//!
//! ```text
//! table! {
//!     /// One stretch that was not seen.
//!     Gaps: GapRow {
//!         /// The interface.
//!         eni_id: Key or "the gap concerns the whole source",
//!         /// The first instant not seen.
//!         from_us: Time as "from",
//!         /// Bytes lost.
//!         bytes: Count in "bytes",
//!     }
//! }
//! ```
//!
//! gives `DOC`, `COLUMNS`, `schema()` and `GapRow` with `to_batch` and `from_batch`. `or` makes the column
//! nullable and says what null means; `as` gives the column another name than the field (instants carry their
//! unit in Rust, `from_us`); `in` names the unit.
//!
//! The form `Flows: FlowRow<'a>, FlowsBuilder { … }` makes a row that borrows its text and a builder that is
//! filled row by row, for the one table where copying text would cost.

/// The marker of a column's kind.
macro_rules! kind {
    ($kind:ident) => { $crate::column::$kind };
    ($kind:ident or $null:literal) => { $crate::column::Nullable<$crate::column::$kind> };
}

/// The Rust type of a field in an owned row.
macro_rules! owned {
    ($kind:ident or $null:literal) => { Option<owned!($kind)> };
    (Key) => { String };
    (Text) => { String };
    (Json) => { String };
    (Time) => { i64 };
    (Int) => { i32 };
    (Count) => { i64 };
    (Flag) => { bool };
}

/// The Rust type of a field in a borrowed row.
macro_rules! lent {
    ($life:lifetime $kind:ident or $null:literal) => { Option<lent!($life $kind)> };
    ($life:lifetime Key) => { &$life str };
    ($life:lifetime Text) => { &$life str };
    ($life:lifetime Time) => { i64 };
    ($life:lifetime Int) => { i32 };
    ($life:lifetime Count) => { i64 };
}

macro_rules! or_default {
    ($default:expr) => {
        $default
    };
    ($default:expr, $value:literal) => {
        $value
    };
}

macro_rules! null_meaning {
    () => {
        None
    };
    ($null:literal) => {
        Some($null)
    };
}

/// `DOC`, `COLUMNS` and `schema()`.
macro_rules! columns {
    (
        #[doc = $table_doc:literal]
        $( #[doc = $doc:literal] $field:ident: $kind:ident $(or $null:literal)? $(as $name:literal)? $(in $unit:literal)?, )*
    ) => {
        /// What one row is.
        pub const DOC: &str = $table_doc;

        /// The columns, in order.
        pub const COLUMNS: &[$crate::column::Column] = &[$(
            $crate::column::Column {
                name: or_default!(stringify!($field) $(, $name)?),
                ty: <$crate::column::$kind as $crate::column::Kind>::TYPE,
                unit: or_default!("" $(, $unit)?),
                null: null_meaning!($($null)?),
                doc: $doc,
            },
        )*];

        /// The Arrow schema of the table.
        pub fn schema() -> arrow_schema::SchemaRef {
            static SCHEMA: std::sync::LazyLock<arrow_schema::SchemaRef> = std::sync::LazyLock::new(|| {
                let fields: Vec<_> = COLUMNS.iter().map($crate::column::Column::field).collect();
                std::sync::Arc::new(arrow_schema::Schema::new(fields))
            });
            SCHEMA.clone()
        }
    };
}

macro_rules! table {
    (
        #[doc = $table_doc:literal]
        $table:ident: $row:ident {
            $( #[doc = $doc:literal] $field:ident: $kind:ident $(or $null:literal)? $(as $name:literal)? $(in $unit:literal)?, )*
        }
    ) => {
        columns! {
            #[doc = $table_doc]
            $( #[doc = $doc] $field: $kind $(or $null)? $(as $name)? $(in $unit)?, )*
        }

        #[doc = $table_doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $row {
            $( #[doc = $doc] pub $field: owned!($kind $(or $null)?), )*
        }

        impl $row {
            /// The rows as one batch with the schema of the table.
            pub fn to_batch(rows: &[Self]) -> arrow_array::RecordBatch {
                let columns: Vec<arrow_array::ArrayRef> = vec![$({
                    type K = kind!($kind $(or $null)?);
                    let mut builder = <K as $crate::column::Kind>::Builder::default();
                    for row in rows {
                        let value = <K as $crate::column::Kind>::lend(&row.$field);
                        <K as $crate::column::Kind>::append(&mut builder, value);
                    }
                    <K as $crate::column::Kind>::finish(&mut builder)
                },)*];
                $crate::table::batch_of(schema(), columns, rows.len())
            }

            /// The rows of a batch. Columns that may be null may be absent; columns the table does not know
            /// are left out.
            pub fn from_batch(batch: &arrow_array::RecordBatch) -> Result<Vec<Self>, $crate::LakeError> {
                let table = $crate::table::Table::$table;
                $( let $field = $crate::table::reader::<kind!($kind $(or $null)?)>(
                    table, batch, or_default!(stringify!($field) $(, $name)?),
                )?; )*
                let mut rows = Vec::with_capacity(batch.num_rows());
                for row in 0..batch.num_rows() {
                    rows.push(Self {
                        $( $field: {
                            type K = kind!($kind $(or $null)?);
                            let value = $crate::column::Values::get(&$field, row).ok_or($crate::LakeError::UnexpectedNull {
                                table,
                                column: or_default!(stringify!($field) $(, $name)?),
                            })?;
                            <K as $crate::column::Kind>::keep(value)
                        }, )*
                    });
                }
                Ok(rows)
            }
        }

        impl $crate::table::Row for $row {
            const TABLE: $crate::table::Table = $crate::table::Table::$table;

            fn to_batch(rows: &[Self]) -> arrow_array::RecordBatch {
                Self::to_batch(rows)
            }

            fn from_batch(batch: &arrow_array::RecordBatch) -> Result<Vec<Self>, $crate::LakeError> {
                Self::from_batch(batch)
            }

            fn text_bytes(&self) -> usize {
                0 $( + <kind!($kind $(or $null)?) as $crate::column::Kind>::text_bytes(&self.$field) )*
            }
        }
    };
    (
        #[doc = $table_doc:literal]
        $table:ident: $row:ident<$life:lifetime>, $builder:ident {
            $( #[doc = $doc:literal] $field:ident: $kind:ident $(or $null:literal)? $(as $name:literal)? $(in $unit:literal)?, )*
        }
    ) => {
        columns! {
            #[doc = $table_doc]
            $( #[doc = $doc] $field: $kind $(or $null)? $(as $name)? $(in $unit)?, )*
        }

        #[doc = $table_doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $row<$life> {
            $( #[doc = $doc] pub $field: lent!($life $kind $(or $null)?), )*
        }

        /// Collects rows into batches; text is copied into dictionaries, nothing else is allocated per row.
        #[derive(Debug, Default)]
        pub struct $builder {
            rows: usize,
            $( $field: <kind!($kind $(or $null)?) as $crate::column::Kind>::Builder, )*
        }

        impl $builder {
            /// Adds a row.
            #[inline]
            pub fn push(&mut self, row: &$row<'_>) {
                $( <kind!($kind $(or $null)?) as $crate::column::Kind>::append(&mut self.$field, row.$field); )*
                self.rows += 1;
            }

            /// Number of rows added since the last batch.
            pub fn len(&self) -> usize {
                self.rows
            }

            /// Whether no row was added since the last batch.
            pub fn is_empty(&self) -> bool {
                self.rows == 0
            }

            /// The rows as one batch with the schema of the table; the builder is empty afterwards.
            pub fn finish(&mut self) -> arrow_array::RecordBatch {
                let columns = vec![$(
                    <kind!($kind $(or $null)?) as $crate::column::Kind>::finish(&mut self.$field),
                )*];
                $crate::table::batch_of(schema(), columns, std::mem::take(&mut self.rows))
            }
        }

        /// The rows of a batch, which lend their text from it.
        pub fn rows(batch: &arrow_array::RecordBatch) -> Result<Vec<$row<'_>>, $crate::LakeError> {
            let table = $crate::table::Table::$table;
            $( let $field = $crate::table::reader::<kind!($kind $(or $null)?)>(
                table, batch, or_default!(stringify!($field) $(, $name)?),
            )?; )*
            let mut rows = Vec::with_capacity(batch.num_rows());
            for row in 0..batch.num_rows() {
                rows.push($row {
                    $( $field: $crate::column::Values::get(&$field, row).ok_or($crate::LakeError::UnexpectedNull {
                            table,
                            column: or_default!(stringify!($field) $(, $name)?),
                        })?, )*
                });
            }
            Ok(rows)
        }
    };
}
