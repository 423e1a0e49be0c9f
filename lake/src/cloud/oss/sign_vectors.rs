//! What `oss2` 2.19.1 and `alibabacloud-oss-v2` 1.4.1 sign, byte for byte.

use std::collections::BTreeMap;

use super::*;

const TOKEN: &str = "CAISexampleStsToken==";
const BUCKET: &str = "flow-bucket";
const LOG_KEY: &str = "sls/vpc/2025/08/01/08/30_1453812893059571256_937.json";

fn credentials(with_token: bool) -> Credentials {
    let keys = Credentials::lasting("LTAI5tExampleKeyId000001", "exampleSecret0000000000000000");
    if with_token {
        keys.with_token(TOKEN)
    } else {
        keys
    }
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_754_037_000, 0).unwrap()
}

struct Case {
    name: &'static str,
    key: Option<&'static str>,
    query: Vec<(String, String)>,
}

fn cases() -> [Case; 4] {
    let query = |pairs: &[(&str, &str)]| {
        let owned = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
        pairs.iter().map(owned).collect()
    };
    [
        Case {
            name: "O1",
            key: Some(LOG_KEY),
            query: vec![],
        },
        Case {
            name: "O2",
            key: None,
            query: query(&[
                ("list-type", "2"),
                ("prefix", "sls/vpc/2025/08/01/"),
                ("max-keys", "1000"),
                ("encoding-type", "url"),
            ]),
        },
        Case {
            name: "O3",
            key: None,
            query: query(&[
                ("list-type", "2"),
                ("prefix", "sls/vpc/"),
                ("continuation-token", "CiAxMjM0NTY+/w=="),
                ("delimiter", "/"),
                ("max-keys", "100"),
            ]),
        },
        Case {
            name: "O4",
            key: Some("sls/日志/a b+c~d.parquet"),
            query: vec![],
        },
    ]
}

fn request<'a>(case: &'a Case, headers: &[(&str, &str)]) -> Signable<'a> {
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    let mut headers: BTreeMap<String, String> = headers.iter().map(owned).collect();
    // Sent, and signed by neither version.
    headers.insert("range".to_string(), "bytes=0-1048575".to_string());
    headers.insert("host".to_string(), "elsewhere".to_string());
    Signable {
        method: "GET",
        bucket: Some(BUCKET),
        key: case.key,
        query: &case.query,
        headers,
    }
}

fn v1_request(case: &Case, with_token: bool) -> Signable<'_> {
    let date = ("date", "Fri, 01 Aug 2025 08:30:00 GMT");
    let token = ("x-oss-security-token", TOKEN);
    let all = [date, token];
    request(case, if with_token { &all } else { &all[..1] })
}

fn v4_request(case: &Case, with_token: bool) -> Signable<'_> {
    let all = [
        ("x-oss-date", "20250801T083000Z"),
        ("x-oss-content-sha256", UNSIGNED_PAYLOAD),
        ("x-oss-security-token", TOKEN),
    ];
    request(case, if with_token { &all } else { &all[..2] })
}

#[test]
fn version_1_with_and_without_token() {
    let expected = [
        [
            "8lticeLPtIWNRHqxreqvu1O/+vA=",
            "3GNVff5ZM0eZDpfjMNB6xk4vwYs=",
        ],
        [
            "ipe28IlS4BuzzmUhzXPXh9dy5nA=",
            "crt143tyLO00oV9q/girSCIjdZ8=",
        ],
        [
            "JiXv1TfbvLrc6UKmehTDhR3b0RU=",
            "ZBL9qqfLjfXVgApw52krRBuxsUA=",
        ],
        [
            "8eFPNr0G0JeOgYhcYQMYxPuU5ns=",
            "vQNdfQp0dg+aC+Sd7nX2/q3XryY=",
        ],
    ];
    for (case, expected) in cases().iter().zip(expected) {
        for (with_token, expected) in [false, true].into_iter().zip(expected) {
            let found = v1(&v1_request(case, with_token), &credentials(with_token));
            let expected = format!("OSS LTAI5tExampleKeyId000001:{expected}");
            assert_eq!(found, expected, "{}, token {with_token}", case.name);
        }
    }
}

#[test]
fn version_4_with_and_without_token() {
    let expected = [
        [
            "cfe0ee3c87ed5307dd15330d49407be12241c0d53add1497104d54de4f59b599",
            "d2894a9bc7572e3cb1da4803adfb8885925deccf4228a4697fce294e7ca103fe",
        ],
        [
            "3bc746c402de81a166b122fa9f71404eb33e638b023c139cdaa9c8c3eaf2879a",
            "d75e18731c1d07b9a2e807565a6095002b710539288083e83220c8dae4285213",
        ],
        [
            "6bf83033ccff21c5eb128731d47c82f852ac53a928ca67b58cf3be54639988f1",
            "aa701ccb55389382728b4d7c924c0bc8d4e674f785f868df7bab0fef5a36bfbe",
        ],
        [
            "15cf96ad89ca7f34f305ff8fd31971ad69d9173089e25159d6ed8bea5da9e24b",
            "ba21cc915844dafe0e4123d976a285a4c13aa65ad3ccff761d2ff0e1ca7ab959",
        ],
    ];
    for (case, expected) in cases().iter().zip(expected) {
        for (with_token, expected) in [false, true].into_iter().zip(expected) {
            let request = v4_request(case, with_token);
            let found = v4(&request, at(), "cn-hangzhou", &credentials(with_token));
            let head = "OSS4-HMAC-SHA256 Credential=LTAI5tExampleKeyId000001/20250801/cn-hangzhou/oss/aliyun_v4_request";
            let expected = format!("{head},Signature={expected}");
            assert_eq!(found, expected, "{}, token {with_token}", case.name);
        }
    }
}

#[test]
fn hashes_of_the_canonical_requests() {
    let expected = [
        [
            "8885abcbb36fa3888abfc54663a8189cba9affec7fe5b96d22f975aa4f30d243",
            "47e689b7c285bb8197d0e7c89e457b2c69bc4414b43fac659990ae6aff83ca09",
        ],
        [
            "6e6b333a2cb3fd846d82d20f86d8ff446012f662a0166dc4f7cc9d83ef45bc7d",
            "342791f65e980767bfbfda9e21f5c1ada0db254bab18bc353a8cd762f4b45032",
        ],
        [
            "a29feb596b04d92ecc23806ea1035f6028edcb3c517450dff59d8858f1f2adda",
            "fc0573d745d1fc99c3cf939a04ce0714f3cfa814410b9e61d377d565e482648b",
        ],
        [
            "042294d1c7051f43269671c1467252349b39cd9ef892e81afd90d06066065c58",
            "ad6b5de23f459353fb95a14db5a99fbefd29054b899ed51a2652d30e8b39616f",
        ],
    ];
    for (case, expected) in cases().iter().zip(expected) {
        for (with_token, expected) in [false, true].into_iter().zip(expected) {
            let canonical = canonical_request(&v4_request(case, with_token));
            assert_eq!(hex(&Sha256::digest(canonical)), expected, "{}", case.name);
        }
    }
}

#[test]
fn what_is_signed_word_for_word() {
    let [_, _, third, fourth] = &cases();
    assert_eq!(
        v1_string(&v1_request(third, true)),
        "GET\n\n\nFri, 01 Aug 2025 08:30:00 GMT\nx-oss-security-token:CAISexampleStsToken==\n\
         /flow-bucket/?continuation-token=CiAxMjM0NTY+/w=="
    );
    assert_eq!(
        canonical_request(&v4_request(third, true)),
        "GET\n/flow-bucket/\n\
         continuation-token=CiAxMjM0NTY%2B%2Fw%3D%3D&delimiter=%2F&list-type=2&max-keys=100&prefix=sls%2Fvpc%2F\n\
         x-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:20250801T083000Z\n\
         x-oss-security-token:CAISexampleStsToken==\n\n\nUNSIGNED-PAYLOAD"
    );
    assert!(
        v1_string(&v1_request(fourth, false)).ends_with("/flow-bucket/sls/日志/a b+c~d.parquet")
    );
    assert!(
        canonical_request(&v4_request(fourth, false))
            .contains("\n/flow-bucket/sls/%E6%97%A5%E5%BF%97/a%20b%2Bc~d.parquet\n")
    );
}

#[test]
fn a_presigned_address() {
    let query: Vec<(String, String)> = [
        ("x-oss-signature-version", "OSS4-HMAC-SHA256"),
        ("x-oss-date", "20250801T083000Z"),
        ("x-oss-expires", "3600"),
        (
            "x-oss-credential",
            "LTAI5tExampleKeyId000001/20250801/cn-hangzhou/oss/aliyun_v4_request",
        ),
        ("x-oss-security-token", TOKEN),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .to_vec();
    let request = Signable {
        method: "GET",
        bucket: Some(BUCKET),
        key: Some("sls/a.parquet"),
        query: &query,
        headers: BTreeMap::new(),
    };
    let canonical = canonical_request(&request);
    assert_eq!(
        v4_signature(&canonical, at(), "cn-hangzhou", credentials(true).secret()),
        "f13d153db6632fc97ac8a4f71f62da10865d61bbd303b3b9f13ffc17e3c496d9"
    );
}
