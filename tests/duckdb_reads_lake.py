"""Opens every table of a lake by plain globs and prints, as JSON, what DuckDB sees.

    duckdb_reads_lake.py LAKE TABLE=PARTITIONS:TIME_COLUMN…     e.g. flows=date,hour:start_time endpoints=:valid_from
"""

import json
import sys

import duckdb


def kind_of(sql_type):
    if sql_type.startswith("TIMESTAMP"):
        return "time"
    return {"BIGINT": "integer", "INTEGER": "integer", "VARCHAR": "text", "BOOLEAN": "boolean"}.get(sql_type, sql_type)


def seen(connection, rows, name, sql_type):
    kind, column = kind_of(sql_type), f'"{name}"'
    value = {
        "time": f"[min(epoch_us({column})), max(epoch_us({column}))]",
        "integer": f"[sum({column})]",
        "text": f"[count(DISTINCT {column}), sum(strlen({column}))]",
        "boolean": f"[count(*) FILTER ({column})]",
    }[kind]
    filled, values = connection.execute(f"SELECT count({column}), {value} FROM {rows}").fetchone()
    return {"kind": kind, "filled": filled, "values": [0 if value is None else int(value) for value in values]}


def table(connection, lake, name, partitions, time):
    glob = "/".join([lake, name, *("*" for _ in partitions), "*.parquet"])
    rows = f"read_parquet('{glob}', hive_partitioning = true)"
    columns = connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()
    columns = {column[0]: column[1] for column in columns}
    for partition in partitions:
        del columns[partition]
    # A row lies in the partition of its time; what is stored as UTC is read as UTC.
    day, hour = f'epoch_us("{time}") // 86400000000', f'epoch_us("{time}") // 3600000000 % 24'
    wrong = [f"date::DATE - DATE '1970-01-01' <> {day}"] * ("date" in partitions)
    wrong += [f"hour::INTEGER <> {hour}"] * ("hour" in partitions)
    misplaced = connection.execute(f"SELECT count(*) FROM {rows} WHERE {' OR '.join(wrong) or 'false'}").fetchone()[0]
    return {
        "rows": connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0],
        "misplaced": misplaced,
        "columns": {name: seen(connection, rows, name, sql_type) for name, sql_type in columns.items()},
    }


def main(lake, *tables):
    connection = duckdb.connect()
    answer = {}
    for argument in tables:
        name, rest = argument.split("=")
        partitions, time = rest.split(":")
        answer[name] = table(connection, lake, name, [word for word in partitions.split(",") if word], time)
    print(json.dumps(answer))


main(*sys.argv[1:])
