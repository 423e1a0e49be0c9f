//! The vectors: made by the official Python SDK, and those the Go SDK publishes.

use super::*;

const HOST: &str = "flow-proj.cn-hangzhou.log.aliyuncs.com";
const ID: &str = "LTAI5tExampleKeyId000001";
const SECRET: &str = "exampleSecret0000000000000000";
const TOKEN: &str = "CAISexampleStsToken==";

/// One request; signatures V1 and V4, each without and with STS; SHA-256 of the canonical request of V4.
struct Vector {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: &'static str,
    v1: [&'static str; 2],
    v4: [&'static str; 2],
    canonical: [&'static str; 2],
}

#[rustfmt::skip]
const VECTORS: [Vector; 6] = [
    Vector {
        name: "S1", method: "GET", path: "/logstores/vpc-flow/shards",
        query: &[],
        body: "",
        v1: ["jKePDnWZWeCNNFoDxwo/krHOhR0=", "WwQFS1lif3R5Z7LjTOkhwLDtaFk="],
        v4: ["b89b1bb495a509db8932b2ae82ae2a19c1836d3380a1df265f3d10fddf839f1f", "63166bd8dddba51e072c2c21153d9596e9c48e3e1d479141b60adbbad0411370"],
        canonical: ["05179681dfa527d7c3f1e8bc1068de034e9bedc03f40b8508d77bf675703c8c2", "7ea3b05f5c4d8d179c70570532cd0d33817308cac5ff33e25e2a467e79c1702e"],
    },
    Vector {
        name: "S2", method: "GET", path: "/logstores/vpc-flow/shards/0",
        query: &[("type", "cursor"), ("from", "begin")],
        body: "",
        v1: ["wOafKokuOoYeJncov4SIS0axYYk=", "d/CwqWDvGVNwQy8JAT6jNWoQvf4="],
        v4: ["92d62b97f4f4090b92cd10266047414d503bf8f1740d281c6b9538dbe6cc33ef", "90a1df0ebfab448f89e19edcb02b84908a21f006181c15af4bb2645d41d17e9d"],
        canonical: ["0688d17af3f75085b3bea475961952fa18d1b76037d688dcf2a02151abd6a344", "cb14dadca491577c104c4c1c118c7916a229c1998a4fd0a7816128574632804b"],
    },
    Vector {
        name: "S3", method: "GET", path: "/logstores/vpc-flow/shards/3",
        query: &[("type", "logs"), ("cursor", "MTcyOTA3MDYxODQyODA0NDY1NQ=="), ("count", "1000"), ("end_cursor", "MTcyOTA3MDYxODQyODA0NDc1NQ==")],
        body: "",
        v1: ["o7p/YxJz5JaE39sN5RWp3DTSmZk=", "JTqBbqIxEX6+w8/uXjiXbUchCIc="],
        v4: ["244602111b78838e1a48f1a46eb250d3b3cda45f6d0e5a87ddb03733992f3e05", "9036f44bf957efafe52f79d011b57a6d5dfc065b319c1eb81fd0143b123916fa"],
        canonical: ["3b395a169be842d4251027395d42075a7bfb8a4669caf4dc541a58ffc0381ca4", "d771f00e2a2824659c482dfb8c6edaec7968704c022baf8cf96f0e236ff56c09"],
    },
    Vector {
        name: "S4", method: "GET", path: "/logstores/vpc-flow/shards/0",
        query: &[("type", "logs"), ("cursor", "MTcyOTA3MDYxODQyODA0NDY1NQ=="), ("count", "100"), ("query", "* | where action = 'REJECT' and dstport='443'"), ("pullMode", "scan_on_stream")],
        body: "",
        v1: ["fR6QkcaDcXf/lSBL+5hOoMXTVRg=", "/i/PmcBXDLVx/8XxQJY8mUZUQc8="],
        v4: ["78f436f92658c8e0a2190041b29f2c749898b4f6e125812291619efd56841f6f", "b1d2e0d9576804b68fb96edb7fd9ebe309c9c34f0883a7321797c806bb86d62a"],
        canonical: ["4ab9dc0f361a2b34bd00851260ff7eb718acf1760e23e5b00116793fe25b33e5", "8e5ff4eb67d08ffa32a04a0d7be448e6450363018f0556a5cb4d40fafc87ff59"],
    },
    Vector {
        name: "S5", method: "POST", path: "/logstores/vpc-flow/consumergroups/cg-1",
        query: &[("type", "heartbeat"), ("consumer", "pod-0")],
        body: r#"[0,1]"#,
        v1: ["pfDRGa3bmfuJ5ekR+IJ5F8Y1SjA=", "4XG5mJRU9yU8NG9IgxhYgcGSZRQ="],
        v4: ["460c5a8a0e1a3d06db9b82f5ab3554dcf9e4b6c1e18900071362ee8f4b642cd5", "18bd18908ca2f561f55f68f12d9c9985ae457982c4d7e2339abf70b639cf6e27"],
        canonical: ["4caf6d29830e99520ae4c63c57f038e2479e7c867a70d87930f187715cdf611f", "b92d0b5477ad966c0daddf2ea97473bddbffa9f222f2cb2fbfc61ecd7e2bd946"],
    },
    Vector {
        name: "S6", method: "POST", path: "/logstores/vpc-flow/consumergroups/cg-1",
        query: &[("type", "checkpoint"), ("consumer", "pod-0"), ("forceSuccess", "false")],
        body: r#"{"shard":0,"checkpoint":"MTcyOTA3MDYxODQyODA0NDY1NQ=="}"#,
        v1: ["9ArZD6mDf7OvTLMB0gp3Or9hbIs=", "JVrUktFGd/zJpEAFwBGGV6cVcbU="],
        v4: ["18ee4ffc754253dde493212d96dd72c94016e91017e11514b3c044a9dc38fd0d", "b5445b1a3e71bdd610b7cfa7b9e344487d32df3043c8a0bf95cde083a8f409c4"],
        canonical: ["f7e5ce36a32d1561981d638a9578512b715eca9e59b01049a301747426f6e6f2", "077fe74d4f29aadba9899489df0050f4d25b8321f3dbc11ef02fc63e404a4b33"],
    },
];

fn keys(token: Option<&str>) -> Keys<'_> {
    Keys {
        id: ID,
        secret: SECRET,
        token,
    }
}

fn now() -> DateTime<Utc> {
    "2025-08-01T08:30:00Z".parse().unwrap()
}

fn request(vector: &Vector) -> Request<'_> {
    Request {
        method: vector.method,
        host: HOST,
        path: vector.path,
        query: vector.query,
        body: vector.body.as_bytes(),
    }
}

#[test]
fn every_vector_of_v1() {
    for vector in &VECTORS {
        for (token, signature) in [None, Some(TOKEN)].into_iter().zip(vector.v1) {
            let headers = sign(&request(vector), &Scheme::V1, keys(token), now());
            assert_eq!(
                value(&headers, "authorization"),
                format!("LOG {ID}:{signature}"),
                "{}",
                vector.name
            );
            assert_eq!(value(&headers, "date"), "Fri, 01 Aug 2025 08:30:00 GMT");
        }
    }
}

#[test]
fn every_vector_of_v4() {
    let region = "cn-hangzhou".to_owned();
    let scheme = Scheme::V4 { region };
    for vector in &VECTORS {
        for (at, token) in [None, Some(TOKEN)].into_iter().enumerate() {
            let request = request(vector);
            let mut headers = sign(&request, &scheme, keys(token), now());
            assert_eq!(
                value(&headers, "authorization"),
                format!(
                    "SLS4-HMAC-SHA256 Credential={ID}/20250801/cn-hangzhou/sls/aliyun_v4_request,Signature={}",
                    vector.v4[at]
                ),
                "{}",
                vector.name
            );
            headers.push(("host", HOST.to_owned()));
            let canonical = canonical_request(&request, &headers);
            assert_eq!(
                hex(&Sha256::digest(canonical)),
                vector.canonical[at],
                "{}",
                vector.name
            );
        }
    }
}

#[test]
fn the_bodies_hash_to_what_the_vectors_say() {
    let v1 = |vector| sign(&request(vector), &Scheme::V1, keys(None), now());
    let [.., heartbeat, checkpoint] = &VECTORS;
    assert_eq!(
        value(&v1(heartbeat), "content-md5"),
        "CCFCD347D0BF65DC77AFE01A3306A96B"
    );
    assert_eq!(
        value(&v1(checkpoint), "content-md5"),
        "3218C8A26E9827045FD606579516A5A4"
    );
    let scheme = Scheme::V4 {
        region: "cn-hangzhou".to_owned(),
    };
    assert_eq!(
        value(
            &sign(&request(heartbeat), &scheme, keys(None), now()),
            "x-log-content-sha256"
        ),
        "463f2998327eb3a694145e6014444480b2235be84aa6cfd57871cc64f1cd816c"
    );
}

#[test]
fn the_canonical_request_reads_as_the_sdk_writes_it() {
    let vector = &VECTORS[3];
    let scheme = Scheme::V4 {
        region: "cn-hangzhou".to_owned(),
    };
    let mut headers = sign(&request(vector), &scheme, keys(Some(TOKEN)), now());
    headers.push(("host", HOST.to_owned()));
    let expected = "GET
/logstores/vpc-flow/shards/0
count=100&cursor=MTcyOTA3MDYxODQyODA0NDY1NQ%3D%3D&pullMode=scan_on_stream&query=%2A%20%7C%20where%20action%20%3D%20%27REJECT%27%20and%20dstport%3D%27443%27&type=logs
host:flow-proj.cn-hangzhou.log.aliyuncs.com
x-acs-security-token:CAISexampleStsToken==
x-log-apiversion:0.6.0
x-log-bodyrawsize:0
x-log-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
x-log-date:20250801T083000Z

host;x-acs-security-token;x-log-apiversion;x-log-bodyrawsize;x-log-content-sha256;x-log-date
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(canonical_request(&request(vector), &headers), expected);
}

#[test]
fn what_the_go_sdk_publishes() {
    let request = Request {
        method: "GET",
        host: "",
        path: "/logstores",
        query: &[],
        body: b"",
    };
    let headers = [
        ("x-log-apiversion", "0.6.0".to_owned()),
        ("x-log-bodyrawsize", "0".to_owned()),
        ("x-log-signaturemethod", "hmac-sha1".to_owned()),
        // A Sunday; the SDK's own test says Monday.
        ("date", "Mon, 3 Jan 2010 08:33:47 GMT".to_owned()),
    ];
    assert_eq!(
        v1(&request, &headers, "mockAccessKeySecret"),
        "Rwm6cTKzoti4HWoe+GKcb6Kv07E="
    );

    let request = Request {
        method: "POST",
        body: b"adasd= -asd zcas",
        ..request
    };
    let headers = [
        ("x-log-date", "20220808T032330Z".to_owned()),
        ("x-log-content-sha256", hex(&Sha256::digest(request.body))),
    ];
    assert_eq!(
        v4(&request, &headers, "cn-shanghai", "zxasdasdasw2").1,
        "8a10a5e723cb2e75964816de660b2c16a58af8bc0261f7f0722d832468c76ce8"
    );
    assert_eq!(
        encode(r"123abc!@#$%^&*()-=_+ ~|\/"),
        "123abc%21%40%23%24%25%5E%26%2A%28%29-%3D_%2B%20~%7C%5C%2F"
    );
}
