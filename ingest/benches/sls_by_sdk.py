"""Pulls one shard with the official Python SDK; prints million records per second of processor time, parsed and as rows."""

import sys
import time

from aliyun.log import LogClient

ENDPOINT, PROJECT, LOGSTORE, KEY, SECRET = sys.argv[1:6]

sls = LogClient(ENDPOINT, KEY, SECRET)


def rate(take):
    cursor = sls.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    end = sls.get_end_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    records, begun = 0, time.process_time()
    while cursor != end:
        reply = sls.pull_logs(PROJECT, LOGSTORE, 0, cursor, 1000, end, compress=True)
        records += take(reply)
        cursor = reply.get_next_cursor()
    return records / (time.process_time() - begun) / 1e6


parsed = rate(lambda reply: sum(len(group.Logs) for group in reply.get_loggroup_list().LogGroups))
rows = rate(lambda reply: len(reply.get_flatten_logs_json()))
print(parsed, rows)
