//! The official Python SDKs see in the fake control plane what our calls see, by both signatures, which keeps the fake honest.
//!
//! Needs a Python with `aliyun-python-sdk-core` and `alibabacloud-tea-openapi`, so it is not part of a plain `cargo test`:
//! `make sdks` installs them and runs this.
#![cfg(test)]
#![expect(dead_code, reason = "the tests of the source use all of the fake")]

#[path = "cloud/fake.rs"]
mod fake;
#[path = "../../lake/tests/fake_oss/http.rs"]
mod http;

use std::process::Command;

use serde_json::{Value, json};

use fake::{FakeCloud, KEY_ID, REGION, SECRET};

#[test]
fn the_python_sdks_are_understood_as_we_are() {
    let Ok(python) = std::env::var("FLOWAUDIT_PYTHON") else {
        panic!(
            "FLOWAUDIT_PYTHON names no Python that has the SDKs of the control plane; run `make sdks`"
        );
    };
    let fake = FakeCloud::start();
    fake.state().token = Some("tok/en+==".to_owned());
    let ids = |kind: &str, count: usize| {
        (0..count)
            .map(|n| format!("{kind}-{n}"))
            .collect::<Vec<_>>()
    };
    let (enis, vswitches) = (ids("eni", 1203), ids("vsw", 60));
    let items = |key: &str, ids: &[String]| ids.iter().map(|id| json!({ key: id })).collect();
    fake.put(
        "DescribeNetworkInterfaces",
        items("NetworkInterfaceId", &enis),
    );
    fake.put("DescribeVSwitches", items("VSwitchId", &vswitches));
    let output = Command::new(python)
        .arg("tests/cloud_sdks.py")
        .arg(fake.endpoint.trim_start_matches("http://"))
        .args([KEY_ID, SECRET, "tok/en+==", REGION])
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    for sdk in ["core", "core-get", "tea"] {
        assert_eq!(theirs[sdk], json!([enis, vswitches]), "{sdk}");
    }
    for code in theirs["refused"].as_array().unwrap() {
        assert!(
            code.as_str().unwrap().contains("SignatureDoesNotMatch"),
            "{code}"
        );
    }
}
