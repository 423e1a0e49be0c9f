"""The official Python SDK against the fake log service, by both signatures.

Requests go to the fake as to a proxy (`http_proxy`), so host and signature are those of production. Prints, as JSON,
what it saw: shards, cursors, and every record as port and start. Whoever starts this compares with what our client saw.
"""

import json
import sys
import time

from aliyun.log import GetLogsRequest, LogClient, LogException, LogItem, PutLogsRequest
from aliyun.log.consumer import (
    ConsumerProcessorBase,
    ConsumerWorker,
    CursorPosition,
    LogHubConfig,
)

ENDPOINT, PROJECT, LOGSTORE, KEY, SECRET, TOKEN = sys.argv[1:7]
STATEMENT = sys.argv[8]
TOKEN = TOKEN or None


def client(version, secret=SECRET, token=TOKEN):
    return LogClient(
        ENDPOINT, KEY, secret, securityToken=token, auth_version=version, region="cn-hangzhou"
    )


def flat(response):
    return [
        (int(log["srcport"]), int(log["start"]))
        for log in response.get_flatten_logs_json()
        if "srcport" in log
    ]


def drive(version):
    sls = client(version)
    seen = {"shards": [], "cursors": {}, "records": [], "left": []}
    for shard in sls.list_shards(PROJECT, LOGSTORE).get_shards_info():
        number = shard["shardID"]
        seen["shards"].append([number, shard["status"]])
        begin = sls.get_begin_cursor(PROJECT, LOGSTORE, number).get_cursor()
        end = sls.get_end_cursor(PROJECT, LOGSTORE, number).get_cursor()
        received = sls.get_cursor_time(PROJECT, LOGSTORE, number, begin).get_cursor_time()
        seen["cursors"][number] = [begin, end, received]
        left = sls.pull_logs(PROJECT, LOGSTORE, number, begin, 1000, end, compress=True, query=STATEMENT)
        seen["left"].append([left.get_next_cursor(), left.get_raw_size_before_query(), flat(left)])
        for compress in ("lz4", "zstd", False):
            cursor, records = begin, []
            while cursor != end:
                options = {"compress": bool(compress)}
                if compress:
                    options["accept_compress_type"] = compress
                reply = sls.pull_logs(PROJECT, LOGSTORE, number, cursor, 7, end, **options)
                assert reply.get_next_cursor() != cursor
                records += flat(reply)
                cursor = reply.get_next_cursor()
            assert compress == "lz4" or records == seen["records"][-len(records) :], compress
            if compress == "lz4":
                seen["records"] += records
    query = GetLogsRequest(PROJECT, LOGSTORE, 0, 2**32 - 1, "", "action: ACCEPT", 100, 0, False)
    seen["queried"] = len(sls.get_logs(query).get_logs())

    group = "cg-" + version
    sls.create_consumer_group(PROJECT, LOGSTORE, group, 60, False)
    try:
        sls.create_consumer_group(PROJECT, LOGSTORE, group, 60, False)
        raise AssertionError("a second group of that name")
    except LogException as error:
        assert error.get_error_code() == "ConsumerGroupAlreadyExist", error
    names = [g.get_consumer_group_name() for g in sls.list_consumer_group(PROJECT, LOGSTORE).get_consumer_groups()]
    assert group in names, names
    numbers = [number for number, _ in seen["shards"]]
    assert sls.heart_beat(PROJECT, LOGSTORE, group, "pod-0", []).get_shards() == numbers
    first = seen["cursors"][numbers[0]][1]
    sls.update_check_point(PROJECT, LOGSTORE, group, numbers[0], first, "pod-0")
    saved = sls.get_check_point(PROJECT, LOGSTORE, group).get_consumer_group_check_points()
    assert saved[0]["checkpoint"] == first, saved
    for wrong in (client(version, secret="wrong"), client(version, token="wrong")):
        try:
            wrong.list_shards(PROJECT, LOGSTORE)
            raise AssertionError("a wrong key was accepted")
        except LogException as error:
            assert error.get_error_code() in ("SignatureNotMatch", "Unauthorized"), error
    return seen


class Count(ConsumerProcessorBase):
    records = []

    def process(self, log_groups, check_point_tracker):
        for group in log_groups.LogGroups:
            for log in group.Logs:
                found = {pair.Key: pair.Value for pair in log.Contents}
                Count.records.append((int(found["srcport"]), int(found["start"])))
        check_point_tracker.save_check_point(True)


def consume(wanted):
    option = LogHubConfig(
        ENDPOINT, KEY, SECRET, PROJECT, LOGSTORE, "cg-worker", "worker-0",
        cursor_position=CursorPosition.BEGIN_CURSOR, heartbeat_interval=1, data_fetch_interval=1, security_token=TOKEN,
    )
    worker = ConsumerWorker(Count, consumer_option=option)
    worker.start()
    until = time.time() + 60
    while len(Count.records) < wanted and time.time() < until:
        time.sleep(0.1)
    worker.shutdown()
    return sorted(Count.records)


def main():
    seen = {version: drive(version) for version in ("v1", "v4")}
    seen["worker"] = consume(len(seen["v4"]["records"]))
    # What the SDK writes is read by ours.
    record = json.loads(sys.argv[7])
    item = LogItem(timestamp=int(time.time()), contents=list(record.items()))
    client("v4").put_logs(PutLogsRequest(PROJECT, LOGSTORE, "flow_log", "sdk", [item], compress=True))
    client("v1").put_logs(PutLogsRequest(PROJECT, LOGSTORE, "flow_log", "sdk", [item], compress=False))
    print(json.dumps(seen))


main()
