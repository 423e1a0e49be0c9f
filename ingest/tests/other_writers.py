"""Writes records in every form a shipping job ships them, by libraries that share nothing with the reader under test.

    other_writers.py RECORDS.jsonl DIRECTORY

A record without a key is a null in Parquet and an empty value in CSV. Each file gets the next few records; printed is how
many there are of each kind of file.
"""

import csv
import gzip
import io
import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import snappy
import zstandard

NUMBERS = ["protocol", "srcport", "dstport", "packets", "bytes", "start", "end", "tcp-flags"]


def columns(records):
    names = []
    for record in records:
        names += [name for name in record if name not in names]
    return names


def json_lines(records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def comma_separated(records):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(records), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def snappy_by(compress):
    def packed(data):
        out = io.BytesIO()
        compress(io.BytesIO(data), out)
        return out.getvalue()

    return packed


PACKINGS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda data: zstandard.ZstdCompressor(level=3).compress(data),
    ".zst-stream": lambda data: zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(data),
    ".snappy": snappy_by(snappy.snappy.hadoop_stream_compress),
    ".snappy-framed": snappy_by(snappy.stream_compress),
    ".snappy-raw": snappy.compress,
}


def table(records, typed):
    """All texts, as the wizard proposes, or with numbers; each of them with nulls where a record lacks the key."""
    arrays = {}
    for name in columns(records):
        values = [record.get(name) for record in records]
        if typed and name in NUMBERS:
            kind = pa.int32() if name in ("srcport", "dstport") else pa.int64()
            arrays[name] = pa.array([None if value is None else int(value) for value in values], kind)
        else:
            arrays[name] = pa.array(values, pa.string())
    full = pa.table(arrays)
    # Columns that are never null are `required`, which Parquet writes without definition levels.
    fields = [field.with_nullable(full[field.name].null_count > 0 or not typed) for field in full.schema]
    return pa.table(arrays, schema=pa.schema(fields))


def parquet_files():
    for compression in ["none", "snappy", "gzip", "zstd"]:
        for version in ["1.0", "2.0"]:
            for dictionary in [True, False]:
                for typed in [True, False]:
                    yield {
                        "compression": compression,
                        "data_page_version": version,
                        "use_dictionary": dictionary,
                        "typed": typed,
                    }
    # Small pages, small row groups, a dictionary that overflows, checksums, and the encodings of the second version.
    for version in ["1.0", "2.0"]:
        yield {"compression": "snappy", "data_page_version": version, "data_page_size": 512, "row_group_size": 150, "typed": True}
        yield {"compression": "zstd", "data_page_version": version, "dictionary_pagesize_limit": 256, "typed": False}
        yield {"compression": "none", "data_page_version": version, "write_page_checksum": True, "typed": True}
        yield {"compression": "snappy", "data_page_version": version, "use_dictionary": False, "typed": True, "delta": True}


def main(records, directory):
    directory = pathlib.Path(directory)
    records = [json.loads(line) for line in open(records)]
    files = []
    for written in (json_lines, comma_separated):
        for suffix, pack in PACKINGS.items():
            files.append((f"{written.__name__}{suffix}", lambda part, w=written, p=pack: p(w(part))))
    for number, options in enumerate(parquet_files()):
        files.append((f"{number}.parquet", lambda part, options=options: as_parquet(part, dict(options))))
    size = len(records) // len(files)
    counts = {"files": len(files), "records": size * len(files)}
    for number, (name, write) in enumerate(files):
        (directory / name).write_bytes(write(records[number * size : (number + 1) * size]))
    print(json.dumps(counts))


def as_parquet(part, options):
    data = table(part, options.pop("typed"))
    if options.pop("delta", False):
        options["column_encoding"] = {
            field.name: "DELTA_BINARY_PACKED" if pa.types.is_integer(field.type) else "DELTA_LENGTH_BYTE_ARRAY"
            for field in data.schema
        }
    out = io.BytesIO()
    pq.write_table(data, out, **options)
    return out.getvalue()


main(*sys.argv[1:])
