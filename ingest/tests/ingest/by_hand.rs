//! Parquet put together by hand, so that it can say whatever one likes of itself.

/// A number as Thrift's compact protocol writes it.
fn number(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// A structure that grows, field by field in ascending order.
#[derive(Default)]
pub(crate) struct Struct {
    bytes: Vec<u8>,
    before: u8,
}

impl Struct {
    fn head(&mut self, id: u8, kind: u8) {
        self.bytes.push((id - self.before) << 4 | kind);
        self.before = id;
    }

    pub(crate) fn int(mut self, id: u8, value: i64) -> Self {
        self.head(id, 5);
        number((value << 1 ^ value >> 63) as u64, &mut self.bytes);
        self
    }

    pub(crate) fn long(mut self, id: u8, value: i64) -> Self {
        self.head(id, 6);
        number((value << 1 ^ value >> 63) as u64, &mut self.bytes);
        self
    }

    pub(crate) fn truth(mut self, id: u8, value: bool) -> Self {
        self.head(id, if value { 1 } else { 2 });
        self
    }

    pub(crate) fn text(mut self, id: u8, value: &[u8]) -> Self {
        self.head(id, 8);
        number(value.len() as u64, &mut self.bytes);
        self.bytes.extend(value);
        self
    }

    pub(crate) fn inner(mut self, id: u8, value: Struct) -> Self {
        self.head(id, 12);
        self.bytes.extend(value.done());
        self
    }

    pub(crate) fn list(mut self, id: u8, kind: u8, elements: &[Vec<u8>]) -> Self {
        self.head(id, 9);
        self.bytes.push(0xf0 | kind);
        number(elements.len() as u64, &mut self.bytes);
        self.bytes.extend(elements.concat());
        self
    }

    pub(crate) fn done(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// Types and codecs of the format.
pub(crate) const INT64: i64 = 2;
pub(crate) const BYTE_ARRAY: i64 = 6;
pub(crate) const PLAIN: i64 = 0;
pub(crate) const RLE: i64 = 3;
pub(crate) const RLE_DICTIONARY: i64 = 8;
pub(crate) const UNPACKED: i64 = 0;
pub(crate) const SNAPPY: i64 = 1;
pub(crate) const GZIP: i64 = 2;
pub(crate) const ZSTD: i64 = 6;

/// A column: pages with their headers.
#[derive(Clone)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: i64,
    pub(crate) nullable: bool,
    pub(crate) packing: i64,
    pub(crate) pages: Vec<u8>,
}

/// A page: what its header says, and what follows it.
pub(crate) fn page(header: Struct, body: &[u8]) -> Vec<u8> {
    [header.done(), body.to_vec()].concat()
}

/// The header of a page of the first version.
pub(crate) fn data(unpacked: i64, packed: i64, values: i64, encoding: i64) -> Struct {
    let inner = Struct::default()
        .int(1, values)
        .int(2, encoding)
        .int(3, RLE)
        .int(4, RLE);
    Struct::default()
        .int(1, 0)
        .int(2, unpacked)
        .int(3, packed)
        .inner(5, inner)
}

/// The header of a page of the second version.
pub(crate) fn data_v2(size: i64, values: i64, nulls: i64, levels: i64, packed: bool) -> Struct {
    let inner = Struct::default()
        .int(1, values)
        .int(2, nulls)
        .int(3, values)
        .int(4, PLAIN)
        .int(5, levels)
        .int(6, 0)
        .truth(7, packed);
    Struct::default()
        .int(1, 3)
        .int(2, size)
        .int(3, size)
        .inner(8, inner)
}

/// The header of a dictionary.
pub(crate) fn dictionary(unpacked: i64, packed: i64, values: i64) -> Struct {
    let inner = Struct::default().int(1, values).int(2, PLAIN);
    Struct::default()
        .int(1, 2)
        .int(2, unpacked)
        .int(3, packed)
        .inner(7, inner)
}

/// Texts as plain values.
pub(crate) fn texts(values: &[&str]) -> Vec<u8> {
    let value = |text: &&str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    values.iter().flat_map(value).collect()
}

/// Numbers as plain values.
pub(crate) fn numbers(values: &[i64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A column of one plain page.
pub(crate) fn plain(name: &'static str, kind: i64, body: &[u8], values: i64) -> Column {
    let size = body.len() as i64;
    Column {
        name,
        kind,
        nullable: false,
        packing: UNPACKED,
        pages: page(data(size, size, values, PLAIN), body),
    }
}

/// A file of one row group with these columns.
pub(crate) fn file(columns: &[Column], rows: i64) -> Vec<u8> {
    let mut bytes = b"PAR1".to_vec();
    let root = Struct::default()
        .text(4, b"schema")
        .int(5, columns.len() as i64);
    let mut schema = vec![root.done()];
    let (mut chunks, mut total) = (Vec::new(), 0);
    for column in columns {
        let element = Struct::default()
            .int(1, column.kind)
            .int(3, i64::from(column.nullable))
            .text(4, column.name.as_bytes());
        schema.push(element.done());
        let (at, size) = (bytes.len() as i64, column.pages.len() as i64);
        let mut name = Vec::new();
        number(column.name.len() as u64, &mut name);
        name.extend(column.name.as_bytes());
        let metadata = Struct::default()
            .int(1, column.kind)
            .list(2, 5, &[vec![0], vec![6], vec![16]])
            .list(3, 8, &[name])
            .int(4, column.packing)
            .long(5, rows)
            .long(6, size)
            .long(7, size)
            .long(9, at);
        chunks.push(Struct::default().long(2, at).inner(3, metadata).done());
        bytes.extend(&column.pages);
        total += size;
    }
    let group = Struct::default()
        .list(1, 12, &chunks)
        .long(2, total)
        .long(3, rows);
    let footer = Struct::default()
        .int(1, 1)
        .list(2, 12, &schema)
        .long(3, rows)
        .list(4, 12, &[group.done()]);
    finish(bytes, &footer.done())
}

/// A file with this footer.
pub(crate) fn finish(mut bytes: Vec<u8>, footer: &[u8]) -> Vec<u8> {
    bytes.extend(footer);
    bytes.extend((footer.len() as u32).to_le_bytes());
    bytes.extend(b"PAR1");
    bytes
}
