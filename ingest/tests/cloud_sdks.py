"""The official Python SDKs against the fake control plane: RPC v1 by aliyun-python-sdk-core, ACS3 by alibabacloud-tea-openapi.

    cloud_sdks.py HOST:PORT KEY SECRET TOKEN REGION

Prints, as JSON, the ids that each saw, and the code with which a wrong secret is refused.
"""

import json
import sys

from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

HOST, KEY, SECRET, TOKEN, REGION = sys.argv[1:6]


def by_core(action, version, parameters, secret=SECRET, method="POST"):
    client = AcsClient(region_id=REGION, credential=StsTokenCredential(KEY, secret, TOKEN), auto_retry=False)
    request = CommonRequest(domain=HOST, version=version, action_name=action)
    request.set_protocol_type("http")
    request.set_method(method)
    request.set_accept_format("json")
    request.add_query_param("RegionId", REGION)
    for key, value in parameters.items():
        request.add_query_param(key, value)
    return json.loads(client.do_action_with_exception(request))


def by_tea(action, version, parameters, secret=SECRET):
    config = Config(access_key_id=KEY, access_key_secret=secret, security_token=TOKEN, type="sts", region_id=REGION)
    config.endpoint, config.protocol = HOST, "http"
    params = Params(
        action=action, version=version, protocol="HTTP", pathname="/", method="POST", auth_type="AK", style="RPC",
        req_body_type="formData", body_type="json",
    )
    request = OpenApiRequest(query={"RegionId": REGION, **parameters})
    return Client(config).call_api(params, request, RuntimeOptions(autoretry=False))["body"]


def interfaces(call):
    ids, token = [], None
    while token != "":
        parameters = {"MaxResults": "500", "Tag.1.Key": "a b*~", "Tag.1.Value": "日志"}
        if token:
            parameters["NextToken"] = token
        answer = call("DescribeNetworkInterfaces", "2014-05-26", parameters)
        ids += [eni["NetworkInterfaceId"] for eni in answer["NetworkInterfaceSets"]["NetworkInterfaceSet"]]
        token = answer.get("NextToken", "")
    return ids


def vswitches(call):
    ids, number, total = [], 0, 1
    while len(ids) < total:
        number += 1
        answer = call("DescribeVSwitches", "2016-04-28", {"PageNumber": str(number), "PageSize": "50"})
        ids += [vswitch["VSwitchId"] for vswitch in answer["VSwitches"]["VSwitch"]]
        total = int(answer["TotalCount"])
    return ids


def refused():
    try:
        by_core("DescribeVSwitches", "2016-04-28", {}, secret="wrong")
    except ServerException as error:
        first = error.get_error_code()
    try:
        by_tea("DescribeVSwitches", "2016-04-28", {}, secret="wrong")
    except Exception as error:
        return [first, error.code]


def main():
    got = {
        "core": [interfaces(by_core), vswitches(by_core)],
        "core-get": [interfaces(lambda *call: by_core(*call, method="GET")), vswitches(by_core)],
        "tea": [interfaces(by_tea), vswitches(by_tea)],
        "refused": refused(),
    }
    print(json.dumps(got))


main()
