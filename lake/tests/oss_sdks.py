"""Does the same things to a bucket by one of the official SDKs and prints, as JSON, what came of each.

    oss_sdks.py SDK ENDPOINT BUCKET KEY_ID SECRET        SDK: oss2-v1 oss2-v4 v2-v1 v2-v4
"""

import json
import sys

SDK, ENDPOINT, BUCKET, KEY_ID, SECRET = sys.argv[1:6]
REGION = "cn-hangzhou"
BODY = b"0123456789" * 1000
KEYS = ["a/plain.txt", "a/日志/b c+d~.parquet", "a/e&f<g>%20'h.txt", "b/1", "b/2", "b/c/3"]


class Oss2:
    def __init__(self, secret):
        import oss2

        self.sdk = oss2
        auth = (oss2.Auth if SDK.endswith("v1") else oss2.AuthV4)(KEY_ID, secret)
        self.bucket = oss2.Bucket(auth, ENDPOINT, BUCKET, region=REGION, is_path_style=True)

    def failure(self, error):
        if not isinstance(error, self.sdk.exceptions.ServerError):
            raise error
        return [error.status, error.code]

    def put(self, key, body, forbid=False):
        headers = {"x-oss-forbid-overwrite": "true"} if forbid else None
        self.bucket.put_object(key, body, headers=headers)

    def get(self, key):
        return self.bucket.get_object(key).read()

    def get_range(self, key, first, last):
        headers = {"x-oss-range-behavior": "standard"}
        return self.bucket.get_object(key, byte_range=(first, last), headers=headers).read()

    def size(self, key):
        return self.bucket.head_object(key).content_length

    def page(self, prefix, delimiter, token, count):
        page = self.bucket.list_objects_v2(prefix, delimiter, token or "", max_keys=count)
        objects = [[found.key, found.size] for found in page.object_list]
        return objects, page.prefix_list, page.next_continuation_token if page.is_truncated else None

    def copy(self, source, target):
        self.bucket.copy_object(BUCKET, source, target)

    def parts(self, key, parts):
        upload = self.bucket.init_multipart_upload(key).upload_id
        stored = [
            self.sdk.models.PartInfo(n, self.bucket.upload_part(key, upload, n, part).etag)
            for n, part in enumerate(parts, 1)
        ]
        self.bucket.complete_multipart_upload(key, upload, stored)

    def delete(self, keys):
        self.bucket.batch_delete_objects(keys)

    def versioning(self):
        return self.bucket.get_bucket_versioning().status


class V2:
    def __init__(self, secret):
        import alibabacloud_oss_v2 as oss

        self.sdk = oss
        config = oss.config.load_default()
        config.credentials_provider = oss.credentials.StaticCredentialsProvider(KEY_ID, secret)
        config.region, config.endpoint = REGION, ENDPOINT
        config.use_path_style, config.disable_ssl = True, True
        config.signature_version = SDK.split("-")[1]
        self.client = oss.Client(config)

    def failure(self, error):
        inner = error.unwrap() if isinstance(error, self.sdk.exceptions.OperationError) else error
        if not isinstance(inner, self.sdk.exceptions.ServiceError):
            raise error
        return [inner.status_code, inner.code]

    def put(self, key, body, forbid=False):
        forbid = True if forbid else None
        self.client.put_object(self.sdk.PutObjectRequest(bucket=BUCKET, key=key, body=body, forbid_overwrite=forbid))

    def get(self, key):
        return self.client.get_object(self.sdk.GetObjectRequest(bucket=BUCKET, key=key)).body.content

    def get_range(self, key, first, last):
        request = self.sdk.GetObjectRequest(
            bucket=BUCKET, key=key, range_header=f"bytes={first}-{last}", range_behavior="standard"
        )
        return self.client.get_object(request).body.content

    def size(self, key):
        return self.client.head_object(self.sdk.HeadObjectRequest(bucket=BUCKET, key=key)).content_length

    def page(self, prefix, delimiter, token, count):
        page = self.client.list_objects_v2(
            self.sdk.ListObjectsV2Request(
                bucket=BUCKET,
                prefix=prefix,
                delimiter=delimiter or None,
                continuation_token=token,
                max_keys=count,
                encoding_type="url",
            )
        )
        objects = [[found.key, found.size] for found in page.contents or []]
        prefixes = [found.prefix for found in page.common_prefixes or []]
        return objects, prefixes, page.next_continuation_token if page.is_truncated else None

    def copy(self, source, target):
        self.client.copy_object(
            self.sdk.CopyObjectRequest(bucket=BUCKET, key=target, source_bucket=BUCKET, source_key=source)
        )

    def parts(self, key, parts):
        begun = self.client.initiate_multipart_upload(self.sdk.InitiateMultipartUploadRequest(bucket=BUCKET, key=key))
        stored = []
        for n, part in enumerate(parts, 1):
            answer = self.client.upload_part(
                self.sdk.UploadPartRequest(
                    bucket=BUCKET, key=key, upload_id=begun.upload_id, part_number=n, body=part
                )
            )
            stored.append(self.sdk.UploadPart(part_number=n, etag=answer.etag))
        self.client.complete_multipart_upload(
            self.sdk.CompleteMultipartUploadRequest(
                bucket=BUCKET,
                key=key,
                upload_id=begun.upload_id,
                complete_multipart_upload=self.sdk.CompleteMultipartUpload(parts=stored),
            )
        )

    def delete(self, keys):
        objects = [self.sdk.DeleteObject(key=key) for key in keys]
        self.client.delete_multiple_objects(self.sdk.DeleteMultipleObjectsRequest(bucket=BUCKET, objects=objects))

    def versioning(self):
        return self.client.get_bucket_versioning(self.sdk.GetBucketVersioningRequest(bucket=BUCKET)).version_status


def steps(client, wrong):
    """Name and outcome of each step; an outcome is a value, or the status and code of the refusal."""

    def told(call, *arguments):
        try:
            value = call(*arguments)
        except Exception as error:
            return {"refused": client.failure(error)}
        return value.decode() if isinstance(value, bytes) else value

    for key in KEYS:
        yield f"put {key}", told(client.put, key, BODY if key.startswith("a/") else b"")
    yield "put again", told(client.put, "b/1", b"", False)
    yield "put if absent, present", told(client.put, "b/1", b"other", True)
    yield "put if absent, absent", told(client.put, "b/new", b"new", True)
    for key in KEYS[:3]:
        yield f"get {key}", told(client.get, key)
        yield f"size {key}", told(client.size, key)
    yield "range", told(client.get_range, KEYS[0], 5, 14)
    yield "range past the end", told(client.get_range, KEYS[0], 9995, 20000)
    yield "range beyond", told(client.get_range, KEYS[0], 20000, 20001)
    for prefix, delimiter in [("", ""), ("a/", ""), ("b/", "/"), ("", "/"), ("none", "")]:
        pages, token = [], None
        while True:
            objects, prefixes, token = client.page(prefix, delimiter, token, 2)
            pages.append([sorted(objects), sorted(prefixes)])
            if not token:
                break
        yield f"list {prefix!r} {delimiter!r}", pages
    yield "copy", told(client.copy, KEYS[1], "copy/日")
    yield "get copy", told(client.get, "copy/日")
    yield "parts", told(client.parts, "parts", [b"x" * 200_000, b"y" * 200_000, b"z"])
    yield "size of parts", told(client.size, "parts")
    yield "get absent", told(client.get, "absent")
    yield "size absent", told(client.size, "absent")[ "refused"][0]
    yield "versioning", told(client.versioning)
    yield "wrong secret", told(wrong.get, KEYS[0])
    yield "delete", told(client.delete, KEYS + ["b/new", "never/was"])
    yield "left", [key for key, _ in client.page("", "", None, 100)[0]]


maker = Oss2 if SDK.startswith("oss2") else V2
print(json.dumps([list(step) for step in steps(maker(SECRET), maker("wrong"))]))
